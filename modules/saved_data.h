#pragma once

#include <ATen/core/ivalue.h>

#include <string>

namespace torch::autograd {
struct AutogradContext;
}

namespace dsmoe::nn {

/// In a custom function's backward pass: what its forward pass put into saved_data under `name`.
/// The node holds it no longer, unless its graph is kept for one more pass. Autograd gives up saved
/// variables node by node, but saved_data only with the whole graph; tensors in there would fill
/// memory until the first layer's gradients are done.
[[nodiscard]] c10::IValue take_saved(torch::autograd::AutogradContext* ctx,
                                     const std::string& name);

}  // namespace dsmoe::nn
