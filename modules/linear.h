#pragma once

#include <ATen/core/Tensor.h>

#include "modules/recompute.h"

namespace dsmoe::nn {

/// y = x W^T without bias. x_NI, weight_OI; returns y_NO in x's dtype (the weight is cast to it).
/// again: makes x for the backward pass, which then does not keep it. Local. Gradient: dx through
/// autograd; dW is added to gradient_of(weight) in the backward pass, or later (DeferScope), never
/// to a temporary of W's size. Zero rows give zero rows.
[[nodiscard]] at::Tensor linear(const at::Tensor& x_NI, const at::Tensor& weight_OI,
                                const RemadePtr& again = {});

}  // namespace dsmoe::nn
