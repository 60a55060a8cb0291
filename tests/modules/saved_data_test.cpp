// What a node keeps beside its variables goes when its backward pass is done, as they do, and not
// when the last node of the graph is.
#include "modules/saved_data.h"

#include <memory>

#include "modules/block.h"
#include "modules/linear.h"
#include "modules/recomputed_block.h"
#include "tests/support/catch.h"

namespace nn = dsmoe::nn;

namespace {

/// A product whose input is made again, and whether the way to make it is still held.
struct Product {
  at::Tensor x_NI = at::arange(12, at::kDouble).view({4, 3}).requires_grad_();
  at::Tensor weight_OI = at::arange(6, at::kDouble).view({2, 3}).requires_grad_();
  std::weak_ptr<int> held;
  at::Tensor loss;

  explicit Product(bool trained = true) {
    weight_OI.requires_grad_(trained);
    const auto token = std::make_shared<int>(0);
    held = token;
    const auto again = nn::remade_if(true, [token, x = x_NI.detach()] { return x; });
    loss = nn::linear(x_NI, weight_OI, again).square().sum();
  }
};

}  // namespace

TEST_CASE("what makes an input again goes while the graph still stands") {
  const Product product;
  CHECK_FALSE(product.held.expired());
  product.loss.backward();
  CHECK(product.held.expired());
  CHECK(product.loss.grad_fn() != nullptr);
}

TEST_CASE("what only a frozen weight's gradient would need goes too") {
  const Product product(/*trained=*/false);
  CHECK_FALSE(product.held.expired());
  product.loss.backward();
  CHECK(product.held.expired());
}

TEST_CASE("it stays with a graph that is kept for one more pass") {
  const Product once, twice;
  once.loss.backward();
  twice.loss.backward({}, /*retain_graph=*/true);
  CHECK_FALSE(twice.held.expired());
  twice.loss.backward();
  CHECK(twice.held.expired());
  CHECK(twice.weight_OI.grad().equal(2 * once.weight_OI.grad()));
}

TEST_CASE("what a layer that runs again has captured goes likewise") {
  std::weak_ptr<int> held;
  const at::Tensor h_NM = at::arange(6, at::kDouble).view({2, 3}).requires_grad_();
  at::Tensor loss;
  {
    const auto token = std::make_shared<int>(0);
    held = token;
    const nn::RunLayer run = [token](const at::Tensor& h, const nn::RoutingRecord*) {
      return nn::BlockOutput{h.square(), {}};
    };
    loss = nn::run_recomputed(run, h_NM).h_NM.sum();
  }
  CHECK_FALSE(held.expired());
  loss.backward();
  CHECK(held.expired());
  CHECK(h_NM.grad().equal(2 * h_NM.detach()));
}
