#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "modules/linear_layer.h"

namespace dsmoe::nn {

/// silu(gate) * up, for h = [gate | up]. h_NX with X = 2F; returns [N, F]. Local, differentiable.
[[nodiscard]] at::Tensor swiglu(const at::Tensor& h_NX);

/// A SwiGLU feed-forward network: down(silu(gate(x)) * up(x)), no bias. gate and up are stacked,
/// gate_up_proj [2F, M], down_proj [M, F]: one product instead of two.
class SwigluMlpImpl final : public torch::nn::Module {
 public:
  SwigluMlpImpl(int64_t hidden_size, int64_t intermediate_size, const Recompute& recompute = {});
  /// again: makes x_NM for the backward pass.
  at::Tensor forward(const at::Tensor& x_NM, const RemadePtr& again = {});

 private:
  Recompute recompute_;
  LinearLayer gate_up_proj_{nullptr};
  LinearLayer down_proj_{nullptr};
};
TORCH_MODULE(SwigluMlp);

}  // namespace dsmoe::nn
