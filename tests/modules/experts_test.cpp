#include "modules/experts.h"

#include <vector>

#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

constexpr int64_t kWidth = 4;
constexpr int64_t kHidden = 5;

config::ModelConfig config() {
  config::ModelConfig config;
  config.hidden_size = kHidden;
  config.moe_intermediate_size = kWidth;
  return config;
}

/// Five rows, three experts: the first takes rows 0, 2, 3, the second none, the third rows 3, 0;
/// rows 1 and 4 go nowhere.
const std::vector<int64_t> kOffsets{0, 3, 3, 5};

struct Fixture {
  Experts experts{config(), /*first=*/3, /*count=*/3};
  at::Tensor rows_RM = test::random({5, kHidden}, 1).requires_grad_();
  at::Tensor weights_P = test::random({5}, 2).requires_grad_();
  at::Tensor pair_rows_P = torch::tensor({0, 2, 3, 3, 0}, at::kLong);

  Fixture() { test::randomize(*experts, 40); }
  at::Tensor run() { return experts->forward({rows_RM, weights_P, pair_rows_P}, kOffsets); }
  at::Tensor parameter(const char* name) const { return experts->named_parameters()[name]; }
};

at::Tensor feed_forward(const at::Tensor& x, const at::Tensor& gate_up, const at::Tensor& down) {
  const auto halves = at::linear(x, gate_up).chunk(2, -1);
  return at::linear(at::silu(halves[0]) * halves[1], down);
}

/// One pair at a time.
at::Tensor naive(const Fixture& f) {
  at::Tensor out_RM = at::zeros_like(f.rows_RM);
  const at::Tensor gate_up = f.parameter("gate_up_proj"), down = f.parameter("down_proj");
  for (int64_t e = 0; e < 3; ++e) {
    for (int64_t p = kOffsets[static_cast<size_t>(e)]; p < kOffsets[static_cast<size_t>(e) + 1];
         ++p) {
      const int64_t row = f.pair_rows_P[p].item<int64_t>();
      out_RM[row] += f.weights_P[p] * feed_forward(f.rows_RM[row], gate_up[e], down[e]);
    }
  }
  return out_RM;
}

TEST_CASE("the expert layer sums weight times FFN over the experts of each row") {
  Fixture f;
  const at::Tensor out_RM = f.run();
  CHECK(test::gap(out_RM, naive(f)) < 1e-14);
  CHECK(out_RM[1].count_nonzero().item<int64_t>() == 0);
  CHECK(out_RM[4].count_nonzero().item<int64_t>() == 0);
  CHECK(f.experts->first_expert() == 3);
}

TEST_CASE("rows, gate weights and expert weights have the gradient of finite differences") {
  Fixture f;
  const at::Tensor pull_RM = test::random({5, kHidden}, 3);
  (f.run() * pull_RM).sum().backward();
  const auto value = [&] {
    const at::NoGradGuard no_grad;
    return (f.run() * pull_RM).sum().item<double>();
  };
  CHECK(test::gradient_error(value, f.rows_RM.detach(), f.rows_RM.grad()) < 1e-8);
  CHECK(test::gradient_error(value, f.weights_P.detach(), f.weights_P.grad()) < 1e-8);
  for (const char* name : {"gate_up_proj", "down_proj"}) {
    CAPTURE(name);
    CHECK(test::gradient_error(value, f.parameter(name).detach(), f.parameter(name).grad()) < 1e-8);
  }
}

TEST_CASE("weight gradients are added, and an expert without a pair keeps what it has") {
  Fixture f;
  f.run().sum().backward();
  const at::Tensor once = f.parameter("down_proj").grad().clone();
  f.parameter("down_proj").grad()[1].fill_(7.0);
  f.run().sum().backward();
  const at::Tensor twice = f.parameter("down_proj").grad();
  CHECK(test::gap(twice[0], 2.0 * once[0]) < 1e-14);
  CHECK(test::gap(twice[2], 2.0 * once[2]) < 1e-14);
  CHECK(once[0].norm().item<double>() > 0.1);
  CHECK(once[1].count_nonzero().item<int64_t>() == 0);
  CHECK(twice[1].eq(7.0).all().item<bool>());
}

TEST_CASE("a rank that no token reaches computes nothing and passes the backward") {
  Fixture f;
  f.rows_RM = at::zeros({0, kHidden}, at::kDouble).requires_grad_();
  f.weights_P = at::zeros({0}, at::kDouble).requires_grad_();
  f.pair_rows_P = at::zeros({0}, at::kLong);
  const at::Tensor out_RM =
      f.experts->forward({f.rows_RM, f.weights_P, f.pair_rows_P}, {0, 0, 0, 0});
  CHECK(out_RM.sizes() == at::IntArrayRef({0, kHidden}));
  out_RM.sum().backward();
  CHECK(f.rows_RM.grad().sizes() == at::IntArrayRef({0, kHidden}));
  const at::Tensor grad = f.parameter("down_proj").grad();
  CHECK((!grad.defined() || grad.count_nonzero().item<int64_t>() == 0));
}

TEST_CASE("bf16 experts are near the float64 ones and may have float32 gradients") {
  Fixture exact;
  exact.run().sum().backward();
  Fixture f;
  f.experts->to(at::kBFloat16);
  for (const char* name : {"gate_up_proj", "down_proj"}) {
    f.parameter(name).mutable_grad() = at::zeros(f.parameter(name).sizes(), at::kFloat);
  }
  f.rows_RM = f.rows_RM.detach().to(at::kBFloat16).requires_grad_();
  f.weights_P = f.weights_P.detach().to(at::kFloat).requires_grad_();
  const at::Tensor out_RM = f.run();
  CHECK(out_RM.scalar_type() == at::kBFloat16);
  CHECK(test::distance(out_RM, naive(exact)) < 0.03);
  out_RM.sum().backward();
  CHECK(test::distance(f.weights_P.grad(), exact.weights_P.grad()) < 0.03);
  CHECK(test::distance(f.parameter("gate_up_proj").grad(), exact.parameter("gate_up_proj").grad()) <
        0.03);
}

}  // namespace
}  // namespace dsmoe::nn
