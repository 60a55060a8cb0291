#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace dsmoe::nn {

/// Dropout of the inputs of one adapter. What is left out depends on a row's key and the adapter's
/// name alone, so that it is the same on any layout and in every forward pass of a step.
struct InputDropout {
  double probability = 0;  ///< in [0, 1), to 1/65536; 0: none
  uint64_t name = 0;       ///< hash_name of the adapter's name
};

/// x_NI with a share of its numbers zero and the others divided by what remains; row_keys: N, or
/// none: x_NI itself. Differentiable in x. Host memory. Local.
[[nodiscard]] at::Tensor drop_inputs(const at::Tensor& x_NI, const InputDropout& dropout,
                                     std::span<const uint64_t> row_keys);

}  // namespace dsmoe::nn
