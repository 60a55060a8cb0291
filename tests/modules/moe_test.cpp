#include "modules/moe.h"

#include <vector>

#include "parallel/local_communicator.h"
#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

config::ModelConfig small() {
  config::ModelConfig config;
  config.hidden_size = 6;
  config.n_routed_experts = 8;
  config.n_shared_experts = 2;
  config.num_experts_per_tok = 3;
  config.moe_intermediate_size = 4;
  config.n_group = 4;
  config.topk_group = 2;
  config.routed_scaling_factor = 1.5;
  return config;
}

struct Fixture {
  explicit Fixture(const config::ModelConfig& model, config::DropConfig drop = {})
      : config(model),
        context{ep, TokenDropper(model, drop, {.micro_sequences = 2}, ep)},
        moe(model, /*layer=*/0, context) {
    test::randomize(*moe, 50);
  }
  at::Tensor parameter(const char* name) const { return moe->named_parameters()[name]; }
  MoeOutput run(bool dropping = false) { return moe(u_NM, sequences, dropping); }

  config::ModelConfig config;
  parallel::LocalCommunicator ep{"ep"};
  MoeContext context;
  Moe moe;
  at::Tensor u_NM = test::random({10, 6}, 1).requires_grad_();
  SequenceInfo sequences{{0, 1}, {false, false}, {}};
};

at::Tensor feed_forward(const at::Tensor& x, const at::Tensor& gate_up, const at::Tensor& down) {
  const auto halves = at::linear(x, gate_up).chunk(2, -1);
  return at::linear(at::silu(halves[0]) * halves[1], down);
}

/// V2 (20) for one token at a time, with the choices and the kept mask that the layer reports.
at::Tensor naive(const Fixture& f, const RoutingRecord& record) {
  const at::Tensor u_NM = f.u_NM.detach();
  const at::Tensor scores_NE = at::softmax(at::linear(u_NM, f.parameter("gate.weight")), 1);
  at::Tensor y_NM = at::zeros_like(u_NM);
  for (int64_t n = 0; n < u_NM.size(0); ++n) {
    for (int64_t k = 0; k < f.config.num_experts_per_tok; ++k) {
      if (record.kept_NK.defined() && !record.kept_NK[n][k].item<bool>()) continue;
      const int64_t e = record.experts_NK[n][k].item<int64_t>();
      y_NM[n] += scores_NE[n][e] * f.config.routed_scaling_factor *
                 feed_forward(u_NM[n], f.parameter("experts.gate_up_proj")[e],
                              f.parameter("experts.down_proj")[e]);
    }
    if (f.config.n_shared_experts == 0) continue;
    y_NM[n] += feed_forward(u_NM[n], f.parameter("shared_experts.gate_up_proj.weight"),
                            f.parameter("shared_experts.down_proj.weight"));
  }
  return y_NM.detach();
}

TEST_CASE("a MoE layer is the shared experts plus the weighted chosen ones, token by token") {
  auto config = small();
  config.n_shared_experts = GENERATE(2, 0);
  CAPTURE(config.n_shared_experts);
  Fixture f(config);
  const MoeOutput out = f.run();
  CHECK_FALSE(out.record.kept_NK.defined());
  CHECK(out.record.experts_NK.equal(select_experts(out.record.scores_NE, config)));
  CHECK(test::gap(out.y_NM, naive(f, out.record)) < 1e-13);
}

TEST_CASE("a dropped pair adds nothing and the rest is not renormalised") {
  Fixture f(small(), {.kind = config::DropKind::kDevice, .capacity = 0.5});
  const MoeOutput out = f.run(/*dropping=*/true);
  REQUIRE(out.record.kept_NK.defined());
  const int64_t kept = out.record.kept_NK.sum().item<int64_t>();
  CHECK(kept > 0);
  CHECK(kept < 30);
  CHECK(test::gap(out.y_NM, naive(f, out.record)) < 1e-13);
  CHECK(test::gap(f.run(/*dropping=*/false).y_NM, out.y_NM) > 1e-3);
}

TEST_CASE("padding reaches no routed expert") {
  Fixture f(small());
  f.sequences.valid_BT = at::ones({2, 5}, at::kBool);
  f.sequences.valid_BT[1].slice(0, 2).fill_(false);
  const MoeOutput out = f.run();
  CHECK(out.record.route->expert_offsets().back() == 7 * 3);
  CHECK(test::gap(out.y_NM, naive(f, out.record)) < 1e-13);
  CHECK(test::gap(out.y_NM[9],
                  feed_forward(f.u_NM[9], f.parameter("shared_experts.gate_up_proj.weight"),
                               f.parameter("shared_experts.down_proj.weight"))) < 1e-13);
}

TEST_CASE("a MoE layer's input and weights have the gradient of finite differences") {
  Fixture f(small(), {.kind = config::DropKind::kDevice, .capacity = 0.5});
  const bool dropping = GENERATE(false, true);
  CAPTURE(dropping);
  const at::Tensor pull_NM = test::random({10, 6}, 3);
  (f.run(dropping).y_NM * pull_NM).sum().backward();
  const auto value = [&] {
    const at::NoGradGuard no_grad;
    return (f.run(dropping).y_NM * pull_NM).sum().item<double>();
  };
  CHECK(test::gradient_error(value, f.u_NM.detach(), f.u_NM.grad()) < 1e-7);
  for (const auto& item : f.moe->named_parameters()) {
    CAPTURE(item.key());
    CHECK(test::gradient_error(value, item.value().detach(), item.value().grad()) < 1e-7);
  }
}

TEST_CASE("a MoE layer takes no rows, forward and backward") {
  Fixture f(small());
  f.u_NM = at::zeros({0, 6}, at::kDouble).requires_grad_();
  f.sequences = {};
  const MoeOutput out = f.run();
  CHECK(out.y_NM.sizes() == at::IntArrayRef({0, 6}));
  out.y_NM.sum().backward();
  CHECK(f.u_NM.grad().sizes() == at::IntArrayRef({0, 6}));
}

}  // namespace
}  // namespace dsmoe::nn
