#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dsmoe::nn {

/// The tokens of one sequence as they stand in the cache of a layer, [S, X], of which the last
/// `rows` ask.
struct CachedSequence {
  at::Tensor cache_SX;
  int64_t rows;
};

/// What attention computes in: float64 for float64, else float32.
[[nodiscard]] at::ScalarType precise_type(const at::Tensor& tensor);

/// Causal attention of the last n of S positions, so many rows at a time that the scores stay
/// small. query_HNX: rotated; keys_GSX, values_GSV: of G heads, each of which serves H/G
/// consecutive query heads. All of precise_type. Returns [H, n, V]. Local, no gradient.
[[nodiscard]] at::Tensor attend_to_cache(const at::Tensor& query_HNX, const at::Tensor& keys_GSX,
                                         const at::Tensor& values_GSV, double scale);

}  // namespace dsmoe::nn
