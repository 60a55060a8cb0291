#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "modules/recompute.h"

namespace dsmoe::nn {

/// y = x / sqrt(mean(x^2) + eps) * weight per row, statistics in float32 (float64 for float64).
/// x_NM, weight_M; local; dx through autograd, dweight added to gradient_of(weight).
[[nodiscard]] at::Tensor rms_norm(const at::Tensor& x_NM, const at::Tensor& weight_M, double eps);

/// RMSNorm with its weight, initially one; V2 section 3.1.2 puts one after each latent as well.
class RmsNormImpl final : public torch::nn::Module {
 public:
  RmsNormImpl(int64_t dim, double eps);
  at::Tensor forward(const at::Tensor& x_NM);
  /// Makes forward(x_NM) again, if `wanted`; keeps x_NM, which should be contiguous.
  [[nodiscard]] RemadePtr again(const at::Tensor& x_NM, bool wanted) const;

 private:
  at::Tensor weight_;
  double eps_;
};
TORCH_MODULE(RmsNorm);

}  // namespace dsmoe::nn
