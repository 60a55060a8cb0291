// Weight gradients that are put off are those that a plain backward pass computes.
#include "modules/deferred_gradients.h"

#include <functional>

#include "modules/linear.h"
#include "tests/support/catch.h"

namespace nn = dsmoe::nn;

namespace {

struct Product {
  at::Tensor x_NI = at::arange(12, at::kDouble).view({4, 3}).requires_grad_();
  at::Tensor weight_OI = at::arange(6, at::kDouble).view({2, 3}).requires_grad_();

  void run_backward() const { nn::linear(x_NI, weight_OI).square().sum().backward(); }
};

}  // namespace

TEST_CASE("a put-off weight gradient comes when it is asked for, and is the same") {
  const Product plain, later;
  plain.run_backward();
  nn::DeferredGradients gradients;
  {
    const nn::DeferScope scope(gradients);
    later.run_backward();
    CHECK(nn::defers_gradients());
  }
  CHECK_FALSE(nn::defers_gradients());
  CHECK(later.x_NI.grad().equal(plain.x_NI.grad()));
  CHECK(later.weight_OI.grad().count_nonzero().item<int64_t>() == 0);
  gradients.run();
  CHECK(later.weight_OI.grad().equal(plain.weight_OI.grad()));
  gradients.run();
  CHECK(later.weight_OI.grad().equal(plain.weight_OI.grad()));
}

TEST_CASE("works are done in the order they were put off in, and forgotten one by one") {
  nn::DeferredGradients gradients;
  std::vector<int> order;
  const auto held = std::make_shared<int>(7);
  gradients.add([&, held] { order.push_back(static_cast<int>(held.use_count())); });
  gradients.add([&] { order.push_back(static_cast<int>(held.use_count())); });
  gradients.run();
  CHECK(order == std::vector<int>{2, 1});
}

TEST_CASE("a scope within a scope is refused") {
  nn::DeferredGradients gradients;
  const nn::DeferScope scope(gradients);
  CHECK_THROWS_AS(nn::DeferScope(gradients), c10::Error);
}
