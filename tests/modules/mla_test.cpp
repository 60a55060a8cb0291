#include "modules/mla.h"

#include <string>
#include <vector>

#include "tests/modules/golden.h"
#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

config::ModelConfig golden_config(const nlohmann::json& value) {
  config::ModelConfig config = test::with_rope({}, value);
  config.hidden_size = value.at("hidden_size");
  config.num_attention_heads = value.at("num_attention_heads");
  config.v_head_dim = value.at("v_head_dim");
  config.kv_lora_rank = value.at("kv_lora_rank");
  config.rms_norm_eps = value.at("rms_norm_eps");
  const auto& q_rank = value.at("q_lora_rank");
  if (!q_rank.is_null()) config.q_lora_rank = q_rank.get<int64_t>();
  return config;
}

config::ModelConfig small(bool compressed) {
  config::ModelConfig config;
  config.hidden_size = 6;
  config.num_attention_heads = 2;
  if (compressed) config.q_lora_rank = 5;
  config.kv_lora_rank = 4;
  config.qk_nope_head_dim = 3;
  config.qk_rope_head_dim = 4;
  config.v_head_dim = 2;
  return config;
}

/// Matrices are parameters of the layer here and modules with a `.weight` in the golden file.
at::Tensor parameter(MultiHeadLatentAttention& mla, const std::string& golden_name) {
  const auto all = mla->named_parameters();
  const auto* whole = all.find(golden_name);
  return whole ? *whole : all[golden_name.substr(0, golden_name.rfind('.'))];
}

SequenceInfo in(const Segments& segments) {
  SequenceInfo info;
  info.segments = segments;
  return info;
}

TEST_CASE("attention equals the golden output and gradients") {
  const auto root = test::golden("mla");
  REQUIRE(root.at("cases").size() == 3);
  for (const auto& wanted : root.at("cases")) {
    const std::string name = wanted.at("name");
    CAPTURE(name);
    const auto config = golden_config(wanted.at("config"));
    MultiHeadLatentAttention mla(config);
    mla->to(at::kDouble);
    REQUIRE(mla->parameters().size() == wanted.at("weights").size());
    {
      const at::NoGradGuard no_grad;
      for (const auto& [key, value] : wanted.at("weights").items()) {
        REQUIRE(parameter(mla, key).sizes() == test::to_tensor(value).sizes());
        parameter(mla, key).copy_(test::to_tensor(value));
      }
    }
    const at::Tensor input_BTM = test::to_tensor(wanted.at("input"));
    const at::Tensor h_NM = input_BTM.view({-1, config.hidden_size}).requires_grad_();
    const auto rope = make_rope_table(config, input_BTM.size(1), at::kDouble);
    const at::Tensor u_NM =
        mla(h_NM, in(Segments::uniform(input_BTM.size(0), input_BTM.size(1))), rope);
    CHECK(test::gap(u_NM.view_as(input_BTM), test::to_tensor(wanted.at("output"))) < 1e-12);
    u_NM.backward(test::to_tensor(wanted.at("grad_output")).view_as(u_NM));
    CHECK(test::distance(h_NM.grad().view_as(input_BTM), test::to_tensor(wanted.at("grad_input"))) <
          1e-12);
    for (const auto& [key, value] : wanted.at("grad_weights").items()) {
      CAPTURE(key);
      CHECK(test::distance(parameter(mla, key).grad(), test::to_tensor(value)) < 1e-12);
    }
  }
}

const Segments kTwo = Segments::uniform(2, 5);

TEST_CASE("every weight of attention and its input have the gradient of finite differences") {
  const bool compressed = GENERATE(false, true);
  CAPTURE(compressed);
  const auto config = small(compressed);
  MultiHeadLatentAttention mla(config);
  test::randomize(*mla, 20);
  const auto rope = make_rope_table(config, 5, at::kDouble);
  const auto two =
      in(Segments(GENERATE(std::vector<int64_t>{0, 4, 8}, std::vector<int64_t>{0, 5, 8})));
  const at::Tensor h_NM = test::random({8, 6}, 1).requires_grad_();
  const at::Tensor pull_NM = test::random({8, 6}, 2);
  (mla(h_NM, two, rope) * pull_NM).sum().backward();
  const auto f = [&] { return (mla(h_NM.detach(), two, rope) * pull_NM).sum().item<double>(); };
  CHECK(test::gradient_error(f, h_NM.detach(), h_NM.grad()) < 1e-8);
  for (const auto& item : mla->named_parameters()) {
    CAPTURE(item.key());
    CHECK(test::gradient_error(f, item.value().detach(), item.value().grad()) < 1e-8);
  }
}

TEST_CASE("a token sees its own sequence up to itself, and nothing else") {
  const auto config = small(true);
  MultiHeadLatentAttention mla(config);
  test::randomize(*mla, 30);
  const at::NoGradGuard no_grad;
  const auto rope = make_rope_table(config, 5, at::kDouble);
  const at::Tensor h_NM = test::random({10, 6}, 1);
  const at::Tensor before_NM = mla(h_NM, in(kTwo), rope);
  at::Tensor changed_NM = h_NM.clone();
  changed_NM[3].add_(1.0);
  const at::Tensor after_NM = mla(changed_NM, in(kTwo), rope);
  const auto moved_N = (after_NM - before_NM).abs().amax(1).gt(1e-9);
  CHECK(moved_N.equal(torch::tensor({0, 0, 0, 1, 1, 0, 0, 0, 0, 0}).to(at::kBool)));
}

TEST_CASE("attention in float32 equals float64 and takes a batch of none") {
  const auto config = small(true);
  MultiHeadLatentAttention mla(config);
  test::randomize(*mla, 30);
  const at::Tensor h_NM = test::random({10, 6}, 1);
  const at::Tensor exact_NM = mla(h_NM, in(kTwo), make_rope_table(config, 5, at::kDouble));
  mla->to(at::kFloat);
  const auto rope = make_rope_table(config, 5, at::kFloat);
  CHECK(test::distance(mla(h_NM.to(at::kFloat), in(kTwo), rope), exact_NM) < 1e-6);
  CHECK(mla(at::empty({0, 6}), in(Segments()), rope).sizes() == at::IntArrayRef({0, 6}));
}

}  // namespace
}  // namespace dsmoe::nn
