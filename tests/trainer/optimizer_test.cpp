#include "trainer/optimizer.h"

#include <string>

#include "parallel/local_communicator.h"
#include "tests/modules/numeric.h"
#include "tests/modules/tiny_model.h"
#include "tests/support/catch.h"
#include "tests/support/stored.h"

namespace dsmoe::train {
namespace {

struct Fixture {
  parallel::LocalCommunicator ep{"ep"};
  nn::Model model{test::tiny_model(), config::DropConfig{}, config::BatchConfig{}, ep};
  nn::ParameterStore store;
  config::OptimizerConfig config;
  Optimizer optimizer;

  explicit Fixture(at::ScalarType compute) : store(model, compute), optimizer(config, store) {
    store.initialize(/*seed=*/1, /*std=*/0.3);
  }

  /// Masters where there are some: all of the model is trained, so that both lie the same way.
  const nn::FlatPair& precise() { return store.has_masters() ? store.masters() : store.weights(); }

  /// Gradients of many magnitudes, zeros and such whose square is denormal among them.
  void fill_gradients(int64_t seed) {
    for (at::Tensor* flat : {&store.gradients().dense, &store.gradients().expert}) {
      const at::Tensor exponent = test::random(flat->sizes(), seed) * 8;
      flat->copy_(test::random(flat->sizes(), seed + 1) * at::pow(10.0, exponent - 8));
      flat->slice(0, 0, 3).zero_();
    }
  }
};

/// AdamW in ATen's own operators, float64.
struct Reference {
  at::Tensor weight, first, second;

  explicit Reference(const at::Tensor& start)
      : weight(start.to(at::kDouble, false, true)),
        first(at::zeros_like(weight)),
        second(at::zeros_like(weight)) {}

  void step(const at::Tensor& gradient, int64_t t, double lr, double decay,
            const config::OptimizerConfig& c) {
    const auto [beta1, beta2] = c.betas;
    const at::Tensor g = gradient.to(at::kDouble);
    first.mul_(beta1).add_(g, 1 - beta1);
    second.mul_(beta2).addcmul_(g, g, 1 - beta2);
    const double correction1 = 1 - std::pow(beta1, t), correction2 = 1 - std::pow(beta2, t);
    weight.mul_(1 - lr * decay);
    weight.addcdiv_(first, (second / correction2).sqrt() + c.eps, -lr / correction1);
  }
};

TEST_CASE("the optimizer is AdamW; matrices decay, norms do not") {
  const auto [dtype, tolerance] = GENERATE(
      std::pair{at::kDouble, 1e-14}, std::pair{at::kFloat, 1e-6}, std::pair{at::kBFloat16, 1e-6});
  CAPTURE(dtype);
  Fixture f(dtype);
  Reference dense(f.precise().dense), expert(f.precise().expert);
  Reference norms(f.precise().dense);
  for (int64_t t = 1; t <= 4; ++t) {
    f.fill_gradients(10 * t);
    const double lr = 0.01 / static_cast<double>(t), divisor = t == 1 ? 1.0 : 2.5;
    dense.step(f.store.gradients().dense / divisor, t, lr, f.config.weight_decay, f.config);
    norms.step(f.store.gradients().dense / divisor, t, lr, 0.0, f.config);
    expert.step(f.store.gradients().expert / divisor, t, lr, f.config.weight_decay, f.config);
    f.optimizer.step(lr, divisor);
  }
  const int64_t decayed = f.store.runs().front().numel;
  const at::Tensor got = f.precise().dense;
  REQUIRE(decayed < got.numel());
  CHECK(test::distance(got.slice(0, 0, decayed), dense.weight.slice(0, 0, decayed)) < tolerance);
  CHECK(test::distance(got.slice(0, decayed), norms.weight.slice(0, decayed)) < tolerance);
  CHECK(test::distance(f.precise().expert, expert.weight) < tolerance);
  CHECK(test::distance(f.optimizer.first_moments().expert, expert.first) < 10 * tolerance);
  CHECK(test::distance(f.optimizer.second_moments().expert, expert.second) < 10 * tolerance);
  CHECK(at::isfinite(got).all().item<bool>());
  CHECK(f.optimizer.steps() == 4);
}

TEST_CASE("after a step modules compute with the rounded masters") {
  Fixture f(at::kBFloat16);
  f.fill_gradients(3);
  f.optimizer.step(0.1, 1.0);
  CHECK(f.store.weights().dense.equal(f.store.masters().dense.to(at::kBFloat16)));
  CHECK(f.store.weights().expert.equal(f.store.masters().expert.to(at::kBFloat16)));
  CHECK_FALSE(Fixture(at::kFloat).store.has_masters());
}

TEST_CASE("each tensor moves at its multiple of the rate, frozen ones not at all") {
  const auto dtype = GENERATE(at::kDouble, at::kBFloat16);
  CAPTURE(dtype);
  const auto rate = [](const std::string& name) {
    if (name.find("experts.2.") != std::string::npos) return 0.25;
    return name.find("self_attn") != std::string::npos ? 2.0 : 0.0;
  };
  parallel::LocalCommunicator ep("ep");
  nn::Model model{test::tiny_model(), config::DropConfig{}, config::BatchConfig{}, ep};
  nn::ParameterStore store(model, dtype, rate);
  store.initialize(1, 0.3);
  config::OptimizerConfig config;
  Optimizer optimizer(config, store);
  store.gradients().dense.copy_(test::random(store.gradients().dense.sizes(), 5));
  store.gradients().expert.copy_(test::random(store.gradients().expert.sizes(), 6));
  std::vector<at::Tensor> before;
  for (const nn::StoredTensor& t : store.tensors())
    before.push_back(test::precise(store, t).clone());
  optimizer.step(0.01, 1.5);
  for (size_t i = 0; i < before.size(); ++i) {
    const nn::StoredTensor& t = store.tensors()[i];
    CAPTURE(t.name);
    if (!t.trains()) {
      CHECK(test::precise(store, t).equal(before[i]));
      continue;
    }
    Reference wanted(before[i]);
    wanted.step(store.gradients().state_view(t) / 1.5, 1, 0.01 * rate(t.name),
                t.decays ? config.weight_decay : 0.0, config);
    CHECK(test::distance(test::precise(store, t), wanted.weight) <
          (dtype == at::kDouble ? 1e-14 : 1e-6));
    CHECK(store.weights().view(t).equal(test::precise(store, t).to(dtype)));
  }
}

TEST_CASE("the same step on one thread and on three") {
  const int before = at::get_num_threads();
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    Fixture f(at::kFloat);
    f.fill_gradients(3);
    f.optimizer.step(0.1, 1.5);
    return f.store.weights().dense;
  };
  CHECK(run(1).equal(run(3)));
  at::set_num_threads(before);
}

TEST_CASE("clipping divides by how far the norm is above its limit") {
  CHECK(clip_divisor(3.0, 1.5) == 2.0);
  CHECK(clip_divisor(1.0, 1.5) == 1.0);
  CHECK(clip_divisor(9.0, 0.0) == 1.0);
}

}  // namespace
}  // namespace dsmoe::train
