#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dsmoe::train {

/// How the next token is drawn from the logits.
struct SamplingOptions {
  double temperature = 0.0;  ///< 0: the most likely token, ties to the lower id
  int64_t top_k = 0;         ///< of the so many most likely; 0: all
  double top_p = 1.0;        ///< of the fewest whose probability reaches it
  int64_t seed = 1;
};

/// Draws the tokens of one text. Texts of one batch have samplers of their own, so that what a
/// prompt gives does not depend on its neighbours. Local.
class Sampler {
 public:
  /// text: the prompt's number; each has a sequence of random numbers of its own.
  Sampler(const SamplingOptions& options, int64_t text);
  /// logits_V: any floating type.
  [[nodiscard]] int64_t next(const at::Tensor& logits_V);

 private:
  SamplingOptions options_;
  at::Generator generator_;
};

/// The probabilities that a sampler draws from, float64 [V]: the softmax of logits / temperature
/// where top_k and top_p leave it, renormalised. temperature > 0.
[[nodiscard]] at::Tensor sampling_probabilities(const at::Tensor& logits_V,
                                                const SamplingOptions& options);

}  // namespace dsmoe::train
