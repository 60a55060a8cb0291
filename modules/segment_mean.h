#pragma once

#include <ATen/core/Tensor.h>

#include "modules/segments.h"

namespace dsmoe::nn {

/// Rows of each segment that count: all of them, or those that valid_N (bool) marks. Int64 [S].
[[nodiscard]] at::Tensor count_rows(const Segments& segments, const at::Tensor& valid_N);

/// Mean of x_NX over the rows of each segment that count, [S, X]; zero where none does. Summed in
/// float64, row after row: padding behind a segment changes no bit. Host memory, float32 or
/// float64, differentiable. Local.
[[nodiscard]] at::Tensor segment_mean(const at::Tensor& x_NX, const Segments& segments,
                                      const at::Tensor& valid_N);

}  // namespace dsmoe::nn
