#include "modules/rope.h"

#include "modules/kernels/kernel_table.h"
#include "tests/modules/golden.h"
#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

TEST_CASE("frequencies, cos and sin factor and softmax scale equal the golden values") {
  const auto root = test::golden("yarn");
  REQUIRE(root.at("cases").size() == 5);
  for (const auto& wanted : root.at("cases")) {
    const std::string name = wanted.at("name");
    CAPTURE(name);
    const auto config = test::with_rope({}, wanted.at("config"));
    const auto frequencies = rope_frequencies(config);
    REQUIRE(frequencies.size() == wanted.at("frequencies").size());
    for (size_t i = 0; i < frequencies.size(); ++i) {
      CAPTURE(i);
      CHECK(frequencies[i] == Approx(wanted.at("frequencies")[i].get<double>()).epsilon(1e-12));
    }
    CHECK(rope_attention_factor(config) ==
          Approx(wanted.at("cos_sin_factor").get<double>()).epsilon(1e-12));
    CHECK(softmax_scale(config) == Approx(wanted.at("softmax_scale").get<double>()).epsilon(1e-12));
  }
}

TEST_CASE("the published scales of V2 and V2.5, and a factor of one that changes nothing") {
  config::ModelConfig config;
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  CHECK(softmax_scale(config) == Approx(0.0721688).epsilon(1e-6));
  config.rope_scaling =
      config::RopeScaling{.factor = 40.0, .mscale = 0.707, .mscale_all_dim = 0.707};
  CHECK(softmax_scale(config) == Approx(0.1147214).epsilon(1e-6));
  CHECK(rope_attention_factor(config) == 1.0);
  config.rope_scaling->mscale = config.rope_scaling->mscale_all_dim = 1.0;
  CHECK(softmax_scale(config) == Approx(0.1352338).epsilon(1e-6));
  config.rope_scaling->mscale_all_dim = 0.0;
  CHECK(rope_attention_factor(config) == Approx(1.3688879).epsilon(1e-6));
  config::ModelConfig unit;
  unit.rope_scaling = config::RopeScaling{.factor = 1.0};
  const auto plain = rope_frequencies(config::ModelConfig{});
  for (size_t i = 0; i < plain.size(); ++i) {
    CHECK(rope_frequencies(unit)[i] == Approx(plain[i]).epsilon(1e-15));
  }
  CHECK(softmax_scale(unit) == softmax_scale(config::ModelConfig{}));
}

TEST_CASE("the table holds cos and sin of position times frequency, times the factor") {
  config::ModelConfig config;
  config.qk_rope_head_dim = 16;
  config.rope_scaling = config::RopeScaling{
      .factor = 4.0, .original_max_position_embeddings = 64, .mscale = 1.0, .mscale_all_dim = 0.5};
  const auto table = make_rope_table(config, 7, at::kDouble);
  const double factor = rope_attention_factor(config);
  CHECK(factor > 1.0);
  const at::Tensor angles_TR =
      at::outer(at::arange(7, at::kDouble), torch::tensor(rope_frequencies(config), at::kDouble));
  CHECK(test::gap(table.cos_TR, angles_TR.cos() * factor) < 1e-15);
  CHECK(test::gap(table.sin_TR, angles_TR.sin() * factor) < 1e-15);
  CHECK(make_rope_table(config, 7, at::kBFloat16).cos_TR.scalar_type() == at::kFloat);
  CHECK(make_rope_table(config, 0, at::kFloat).cos_TR.sizes() == at::IntArrayRef({0, 8}));
}

/// One vector at a position.
at::Tensor rotated(const at::Tensor& x_R, int64_t position, const RopeTable& table,
                   double sign = 1.0) {
  at::Tensor y_R = x_R.clone();
  const int64_t dim = x_R.size(0);
  const auto* cos = table.cos_TR.const_data_ptr<double>() + position * dim / 2;
  const auto* sin = table.sin_TR.const_data_ptr<double>() + position * dim / 2;
  kernels::kernels<double>().rotate_pairs(y_R.mutable_data_ptr<double>(), cos, sin, dim / 2, sign);
  return y_R;
}

TEST_CASE("pairs are neighbours: (2i, 2i+1) turns by position times frequency i") {
  config::ModelConfig config;
  config.qk_rope_head_dim = 8;
  const auto table = make_rope_table(config, 20, at::kDouble);
  const auto frequencies = rope_frequencies(config);
  for (int64_t i = 0; i < 4; ++i) {
    at::Tensor unit_R = at::zeros({8}, at::kDouble);
    unit_R[2 * i] = 1.0;
    at::Tensor wanted_R = at::zeros({8}, at::kDouble);
    wanted_R[2 * i] = std::cos(13.0 * frequencies[static_cast<size_t>(i)]);
    wanted_R[2 * i + 1] = std::sin(13.0 * frequencies[static_cast<size_t>(i)]);
    CHECK(test::gap(rotated(unit_R, 13, table), wanted_R) < 1e-15);
  }
}

TEST_CASE("a rotation keeps norms, turns back, and scores depend on the distance only") {
  config::ModelConfig config;
  config.qk_rope_head_dim = 8;
  const auto table = make_rope_table(config, 40, at::kDouble);
  const at::Tensor q_R = test::random({8}, 1);
  const at::Tensor k_R = test::random({8}, 2);
  const auto score = [&](int64_t m, int64_t n) {
    return at::dot(rotated(q_R, m, table), rotated(k_R, n, table)).item<double>();
  };
  CHECK(rotated(q_R, 0, table).equal(q_R));
  CHECK(rotated(q_R, 17, table).norm().item<double>() == Approx(q_R.norm().item<double>()));
  CHECK(test::gap(rotated(rotated(q_R, 17, table), 17, table, -1.0), q_R) < 1e-14);
  CHECK(score(9, 4) == Approx(score(37, 32)).epsilon(1e-12));
  CHECK(std::abs(score(9, 4) - score(10, 4)) > 1e-3);
}

}  // namespace
}  // namespace dsmoe::nn
