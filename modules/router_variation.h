#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "configs/model_config.h"

namespace dsmoe::nn {

/// What a study may do to the router in training (section `router`). It depends on a token's place
/// in the run alone, so that it is the same on any layout and in every forward pass of a step.
struct RouterVariation {
  double jitter = 0;             ///< eps of the noise on the router's input; 0: none
  bool force_balance = false;    ///< experts are dealt out in turn
  std::vector<int64_t> numbers;  ///< global number of each of B sequences
  std::vector<uint64_t> keys;    ///< what each sequence's noise is drawn from
};

/// u times noise, uniform in [1 - eps, 1 + eps) and drawn anew for each token, column and layer, as
/// in Switch Transformers (2101.03961, section 2.2). u_NM: rows of the B sequences, equally long;
/// float32 or float64. u itself where eps is 0. Differentiable in u. Host memory. Local.
[[nodiscard]] at::Tensor jittered(const at::Tensor& u_NM, int64_t layer,
                                  const RouterVariation& variation);

/// Experts dealt out in turn: over n_group * experts_per_group consecutive tokens of the run each
/// expert gets K of them. A token's K experts lie in min(M, K) consecutive groups (greedy:
/// anywhere) so that the traffic is that of a limited choice, too. rows: N of B sequences, equally
/// long. Returns int64 [N, K].
[[nodiscard]] at::Tensor balanced_experts(int64_t rows, const RouterVariation& variation,
                                          const config::ModelConfig& config);

}  // namespace dsmoe::nn
