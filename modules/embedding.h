#pragma once

#include <ATen/core/Tensor.h>

namespace dsmoe::nn {

/// Rows of weight_VM for token ids [N]. Local; dweight is added to gradient_of(weight), the tokens
/// in order, so that the same ids give the same bits.
[[nodiscard]] at::Tensor embed(const at::Tensor& ids_N, const at::Tensor& weight_VM);

}  // namespace dsmoe::nn
