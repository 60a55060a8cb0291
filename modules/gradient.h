#pragma once

#include <ATen/core/Tensor.h>

namespace dsmoe::nn {

/// The buffer into which a parameter's gradient is added: a view of the flat gradient when a
/// ParameterStore owns the parameter, else zeros made on first use. Its dtype may be wider than the
/// parameter's (bf16 weights, fp32 gradients).
[[nodiscard]] at::Tensor gradient_of(const at::Tensor& parameter);

/// gradient += dy^T x, straight into the buffer. dy_NO, x_NI; gradient_OI.
void add_weight_gradient(at::Tensor gradient_OI, const at::Tensor& dy_NO, const at::Tensor& x_NI);

}  // namespace dsmoe::nn
