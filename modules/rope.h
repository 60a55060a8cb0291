#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "configs/model_config.h"

namespace dsmoe::nn {

/// Angular frequency of each rotated pair, float64, [R/2]: theta^(-2i/R), interpolated by YaRN
/// where rope_scaling is set (V2 section 3.1.4).
[[nodiscard]] std::vector<double> rope_frequencies(const config::ModelConfig& config);

/// Factor on cos and sin: mscale(mscale) / mscale(mscale_all_dim); 1 without YaRN.
[[nodiscard]] double rope_attention_factor(const config::ModelConfig& config);

/// Softmax scale of V2 (18): (d_h + d_h^R)^-1/2, times mscale(mscale_all_dim)^2 under YaRN.
[[nodiscard]] double softmax_scale(const config::ModelConfig& config);

/// cos and sin of position times frequency, [T, R/2]; float64 for a float64 model, else float32.
struct RopeTable {
  at::Tensor cos_TR;
  at::Tensor sin_TR;
};
[[nodiscard]] RopeTable make_rope_table(const config::ModelConfig& config, int64_t positions,
                                        at::ScalarType dtype, at::Device device = at::kCPU);

/// Turns the pairs (2i, 2i+1) of x [..., R] by angles that broadcast against [..., R/2], V2 (14),
/// (15). Returns a new tensor of x's dtype, computed in the angles'. No gradient.
[[nodiscard]] at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

/// heads_NX with the rotated part of each head, its last d_h^R numbers, turned by the angles of its
/// row, [N, R/2]. Any number of heads of width d_h + d_h^R. Returns a new tensor. No gradient.
[[nodiscard]] at::Tensor rotate_tails(const at::Tensor& heads_NX, const RopeTable& angles,
                                      const config::ModelConfig& config);

}  // namespace dsmoe::nn
