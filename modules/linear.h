#pragma once

#include <ATen/core/Tensor.h>

namespace dsmoe::nn {

/// y = x W^T without bias. x_NI, weight_OI; returns y_NO in x's dtype (the weight is cast to it).
/// Local. Gradient: dx through autograd; dW is added to gradient_of(weight) in the backward pass,
/// never to a temporary of W's size. Zero rows give zero rows.
[[nodiscard]] at::Tensor linear(const at::Tensor& x_NI, const at::Tensor& weight_OI);

}  // namespace dsmoe::nn
