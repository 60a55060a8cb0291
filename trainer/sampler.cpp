#include "trainer/sampler.h"

namespace dsmoe::train {

at::Tensor sampling_probabilities(const at::Tensor& logits_V, const SamplingOptions& options) {
  const at::Tensor probabilities =
      at::softmax(logits_V.detach().to(at::kDouble) / options.temperature, -1);
  if (options.top_k <= 0 && options.top_p >= 1.0) return probabilities;
  const auto [sorted, ids] = probabilities.sort(/*stable=*/true, -1, /*descending=*/true);
  const at::Tensor before = sorted.cumsum(-1) - sorted;
  at::Tensor keeps = before.lt(options.top_p);
  if (options.top_k > 0 && options.top_k < keeps.size(0)) {
    keeps.narrow(0, options.top_k, keeps.size(0) - options.top_k).fill_(false);
  }
  keeps[0].fill_(true);
  const at::Tensor left = at::zeros_like(probabilities).scatter(0, ids, sorted * keeps);
  return left / left.sum();
}

Sampler::Sampler(const SamplingOptions& options, int64_t text)
    : options_(options),
      generator_(
          at::detail::createCPUGenerator(static_cast<uint64_t>(options.seed) +
                                         0x9E3779B97F4A7C15ULL * static_cast<uint64_t>(text))) {}

int64_t Sampler::next(const at::Tensor& logits_V) {
  if (options_.temperature <= 0.0) return logits_V.argmax().item<int64_t>();
  return at::multinomial(sampling_probabilities(logits_V, options_), 1, /*replacement=*/true,
                         generator_)
      .item<int64_t>();
}

}  // namespace dsmoe::train
