#include "modules/router_variation.h"

#include <set>
#include <vector>

#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

config::ModelConfig dealing(int64_t experts, int64_t groups, int64_t limit, int64_t choices) {
  config::ModelConfig config;
  config.n_routed_experts = experts;
  config.n_group = groups;
  config.topk_group = limit;
  config.num_experts_per_tok = choices;
  return config;
}

const RouterVariation kNoise{0.25, false, {10, 11, 12}, {100, 200, 300}};

at::Tensor noise_of(const RouterVariation& variation, int64_t layer, int64_t rows) {
  return jittered(at::ones({rows, 40}, at::kDouble), layer, variation);
}

TEST_CASE("noise stays within its bounds, fills them, and is even") {
  const at::Tensor noise = noise_of(kNoise, 1, 3 * 50);
  CHECK(noise.min().item<double>() >= 0.75);
  CHECK(noise.max().item<double>() < 1.25);
  CHECK(noise.min().item<double>() < 0.751);
  CHECK(noise.max().item<double>() > 1.249);
  // 6000 draws of standard deviation 0.5 / sqrt(12): five times that of their mean.
  CHECK(std::abs(noise.mean().item<double>() - 1.0) < 5 * 0.1443 / std::sqrt(6000.0));
}

TEST_CASE("noise differs between sequences, positions, columns and layers, and by nothing else") {
  const at::Tensor all = noise_of(kNoise, 1, 3 * 50);
  CHECK(std::get<0>(at::_unique(all)).numel() > 5990);
  CHECK_FALSE(all.equal(noise_of(kNoise, 2, 3 * 50)));
  const RouterVariation one{0.25, false, {11}, {200}};
  CHECK(noise_of(one, 1, 50).equal(all.narrow(0, 50, 50)));
}

TEST_CASE("without noise the input itself goes on") {
  const at::Tensor u_NM = test::random({4, 3}, 1);
  CHECK(jittered(u_NM, 0, RouterVariation{}).is_same(u_NM));
  CHECK(jittered(u_NM, 0, RouterVariation{0.0, true, {0}, {1}}).is_same(u_NM));
}

TEST_CASE("experts dealt out in turn are even, distinct, and within the group limit") {
  const auto config = GENERATE(dealing(8, 4, 2, 3), dealing(8, 4, 1, 2), dealing(16, 4, 4, 4),
                               dealing(64, 8, 3, 6), dealing(6, 1, 1, 4));
  CAPTURE(config.n_routed_experts, config.topk_group, config.num_experts_per_tok);
  const int64_t rows = 2 * config.n_routed_experts;
  const RouterVariation variation{0.0, true, {7, 8}, {}};
  const at::Tensor experts_NK = balanced_experts(rows, variation, config);
  const at::Tensor counts = at::bincount(experts_NK.flatten(), {}, config.n_routed_experts);
  CHECK(counts.equal(at::full_like(counts, 2 * config.num_experts_per_tok)));
  for (int64_t n = 0; n < rows; ++n) {
    std::set<int64_t> experts, groups;
    for (int64_t k = 0; k < config.num_experts_per_tok; ++k) {
      const auto e = experts_NK[n][k].item<int64_t>();
      experts.insert(e);
      groups.insert(e / config.experts_per_group());
    }
    CHECK(static_cast<int64_t>(experts.size()) == config.num_experts_per_tok);
    CHECK(static_cast<int64_t>(groups.size()) <= config.topk_group);
  }
}

TEST_CASE("a greedy router's experts are dealt out over all groups") {
  auto config = dealing(8, 4, 1, 3);
  config.topk_method = config::TopkMethod::kGreedy;
  const at::Tensor experts_NK = balanced_experts(8, {0.0, true, {0}, {}}, config);
  const at::Tensor counts = at::bincount(experts_NK.flatten(), {}, 8);
  CHECK(counts.equal(at::full_like(counts, 3)));
}

TEST_CASE("a sequence gets the same experts whoever else is in the batch") {
  const auto config = dealing(16, 4, 2, 4);
  const at::Tensor all = balanced_experts(30, {0.0, true, {3, 4, 5}, {}}, config);
  CHECK(balanced_experts(10, {0.0, true, {4}, {}}, config).equal(all.narrow(0, 10, 10)));
  CHECK(balanced_experts(0, {0.0, true, {}, {}}, config).size(0) == 0);
}

}  // namespace
}  // namespace dsmoe::nn
