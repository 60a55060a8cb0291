#include "modules/input_dropout.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>

#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <vector>

#include "modules/linear_layer.h"
#include "modules/name_hash.h"
#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

using namespace dsmoe;      // NOLINT
using namespace dsmoe::nn;  // NOLINT

namespace {

std::vector<uint64_t> keys_from(uint64_t first, int64_t count) {
  std::vector<uint64_t> keys;
  for (int64_t i = 0; i < count; ++i) keys.push_back(first + static_cast<uint64_t>(i));
  return keys;
}

/// What ones become.
at::Tensor mask(const InputDropout& dropout, int64_t rows, int64_t width, uint64_t first = 0) {
  return drop_inputs(at::ones({rows, width}, at::kDouble), dropout, keys_from(first, rows));
}

}  // namespace

TEST_CASE("input dropout leaves out its share and keeps the mean") {
  const double p = 0.25;
  const at::Tensor mask_NI = mask({p, 7}, 400, 250);
  const double n = 400 * 250;
  const double deviation = std::sqrt(p * (1 - p) / n);
  CHECK(std::abs(mask_NI.eq(0).sum().item<double>() / n - p) < 5 * deviation);
  CHECK(std::abs(mask_NI.max().item<double>() * (1 - p) - 1) < 1e-12);
  CHECK(mask_NI.eq(0).logical_or(mask_NI.eq(1 / (1 - p))).all().item<bool>());
  // Neither columns nor rows go together: each has about its share.
  CHECK(mask_NI.eq(0).to(at::kDouble).mean(0).sub(p).abs().max().item<double>() < 0.13);
  CHECK(mask_NI.eq(0).to(at::kDouble).mean(1).sub(p).abs().max().item<double>() < 0.17);
}

TEST_CASE("input dropout depends on the rows' keys and the name alone") {
  const InputDropout dropout{0.5, hash_name(0, "model.layers.0.mlp.up_proj")};
  const at::Tensor all_NI = mask(dropout, 8, 30);
  CHECK(all_NI.equal(mask(dropout, 8, 30)));
  CHECK(all_NI.slice(0, 3, 6).equal(mask(dropout, 3, 30, /*first=*/3)));
  CHECK_FALSE(all_NI.equal(mask({0.5, hash_name(0, "model.layers.0.mlp.gate_proj")}, 8, 30)));
  CHECK_FALSE(all_NI.equal(mask(dropout, 8, 30, /*first=*/100)));
}

TEST_CASE("input dropout without keys, share or rows is nothing") {
  const at::Tensor x_NI = at::randn({3, 5});
  CHECK(drop_inputs(x_NI, {0.5, 1}, {}).is_same(x_NI));
  CHECK(drop_inputs(x_NI, {0, 1}, keys_from(0, 3)).is_same(x_NI));
  CHECK(mask({0.5, 1}, 0, 5).sizes() == at::IntArrayRef{0, 5});
  CHECK_THROWS(drop_inputs(x_NI, {0.5, 1}, keys_from(0, 2)));
}

TEST_CASE("an adapter alone sees what dropout leaves, and so does its gradient") {
  const bool halves = GENERATE(false, true);
  LinearLayer layer(6, 4);
  layer->adapt({2, 0.5, 0.4, {}}, "layer",
               halves ? std::vector<std::string>{"gate", "up"} : std::vector<std::string>{});
  test::randomize(*layer, 3);
  const auto weights = layer->named_parameters();
  const at::Tensor x_NI = test::random({5, 4}, 11).requires_grad_();
  const auto keys = keys_from(40, 5);

  at::Tensor wanted_NO = x_NI.matmul(weights["weight"].t());
  std::vector<at::Tensor> parts;
  for (const std::string& name :
       halves ? std::vector<std::string>{"gate", "up"} : std::vector<std::string>{""}) {
    const at::Tensor mask_NI =
        drop_inputs(at::ones({5, 4}, at::kDouble), {0.4, hash_name(0, "layer." + name)}, keys);
    const std::string prefix = name.empty() ? "" : name + "_";
    parts.push_back(0.5 * (x_NI * mask_NI)
                              .matmul(weights[prefix + "lora_A"].t())
                              .matmul(weights[prefix + "lora_B"].t()));
  }
  wanted_NO = wanted_NO + at::cat(parts, 1);
  const at::Tensor upstream_NO = test::random({5, 6}, 12);
  const at::Tensor wanted_dx = torch::autograd::grad({wanted_NO}, {x_NI}, {upstream_NO})[0];
  const at::Tensor y_NO = layer->forward(x_NI, keys);
  CHECK(test::distance(y_NO, wanted_NO) < 1e-14);
  CHECK(test::distance(torch::autograd::grad({y_NO}, {x_NI}, {upstream_NO})[0], wanted_dx) < 1e-14);
  CHECK(test::distance(layer->forward(x_NI), wanted_NO) > 1e-3);
}
