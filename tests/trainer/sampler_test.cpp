#include "trainer/sampler.h"

#include <map>

#include "tests/support/catch.h"

namespace dsmoe::train {
namespace {

const auto kLogits = [] { return torch::tensor({1.0, 3.0, 2.0, 3.0, -1.0}, at::kDouble); };

TEST_CASE("without temperature the most likely token wins, the lower id on ties") {
  Sampler sampler({}, 0);
  CHECK(sampler.next(kLogits()) == 1);
}

TEST_CASE("temperature, top-k and top-p shape the probabilities as defined") {
  const at::Tensor plain = at::softmax(kLogits() / 0.5, -1);
  CHECK(at::allclose(sampling_probabilities(kLogits(), {.temperature = 0.5}), plain));
  const at::Tensor two = sampling_probabilities(kLogits(), {.temperature = 1.0, .top_k = 2});
  CHECK(at::allclose(two, torch::tensor({0.0, 0.5, 0.0, 0.5, 0.0}, at::kDouble)));
  // Two tokens reach 0.793, three 0.939.
  const auto kept = [](double p) {
    const SamplingOptions options{.temperature = 1.0, .top_p = p};
    return sampling_probabilities(kLogits(), options).gt(0).sum().item<int64_t>();
  };
  CHECK(kept(0.1) == 1);
  CHECK(kept(0.75) == 2);
  CHECK(kept(0.8) == 3);
  CHECK(kept(0.95) == 4);
}

TEST_CASE("draws follow the probabilities, and come again with the seed") {
  const SamplingOptions options{.temperature = 1.0, .seed = 4};
  Sampler first(options, 0), again(options, 0), other(options, 1);
  std::map<int64_t, double> counts;
  bool differs = false;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    const int64_t id = first.next(kLogits());
    CHECK(id == again.next(kLogits()));
    differs = differs || id != other.next(kLogits());
    counts[id] += 1.0 / kDraws;
  }
  CHECK(differs);
  const at::Tensor wanted = at::softmax(kLogits(), -1);
  for (int64_t id = 0; id < 5; ++id) {
    CHECK(counts[id] == Approx(wanted[id].item<double>()).margin(0.03));
  }
}

}  // namespace
}  // namespace dsmoe::train
