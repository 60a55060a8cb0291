#pragma once

#include <ATen/core/Tensor.h>

#include "modules/adapter.h"

namespace dsmoe::nn {

/// Sum over the targets of -log softmax(h W^T + l B^T)[target], in nats; a 0-d float64 tensor.
/// h_NM, weight_VM, targets_N (int64, negative: no target); counts_N: float32, what each target's
/// term is multiplied by, undefined: 1; low: l [N, R] and B [V, R] of the head's adapter,
/// undefined: none. Logits are made for some rows at a time, of rows with a target only; where a
/// gradient is needed the same pass makes those of h, W, l and B. Those of the matrices are added
/// to their gradient_of in the backward pass. Local; zero rows give zero.
[[nodiscard]] at::Tensor cross_entropy_sum(const at::Tensor& h_NM, const at::Tensor& weight_VM,
                                           const at::Tensor& targets_N,
                                           const at::Tensor& counts_N = {},
                                           const LowRankProduct& low = {});

/// The same values row by row, float64 [N], zero where there is no target. Local, no gradient.
[[nodiscard]] at::Tensor cross_entropy_rows(const at::Tensor& h_NM, const at::Tensor& weight_VM,
                                            const at::Tensor& targets_N,
                                            const LowRankProduct& low = {});

}  // namespace dsmoe::nn
