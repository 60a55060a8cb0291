#include "modules/rope.h"

#include <cmath>
#include <numbers>

namespace dsmoe::nn {
namespace {

double mscale(double factor, double coefficient) {
  return factor <= 1.0 ? 1.0 : 0.1 * coefficient * std::log(factor) + 1.0;
}

/// The pair index whose wave turns `rotations` times over the original length.
double correction_dim(double rotations, const config::ModelConfig& config) {
  const auto length = static_cast<double>(config.rope_scaling->original_max_position_embeddings);
  const auto dim = static_cast<double>(config.qk_rope_head_dim);
  return dim * std::log(length / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(config.rope_theta));
}

/// 0: keep the frequency, 1: divide it by the factor, between them a linear ramp over the pairs.
double interpolation(int64_t pair, const config::ModelConfig& config) {
  const config::RopeScaling& yarn = *config.rope_scaling;
  const auto last = static_cast<double>(config.qk_rope_head_dim - 1);
  const double low = std::max(std::floor(correction_dim(yarn.beta_fast, config)), 0.0);
  double high = std::min(std::ceil(correction_dim(yarn.beta_slow, config)), last);
  if (low == high) high += 0.001;
  return std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
}

}  // namespace

std::vector<double> rope_frequencies(const config::ModelConfig& config) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < config.qk_rope_head_dim / 2; ++i) {
    const double exponent =
        2.0 * static_cast<double>(i) / static_cast<double>(config.qk_rope_head_dim);
    double frequency = std::pow(config.rope_theta, -exponent);
    if (config.rope_scaling) {
      const double share = interpolation(i, config);
      frequency = frequency / config.rope_scaling->factor * share + frequency * (1.0 - share);
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

double rope_attention_factor(const config::ModelConfig& config) {
  if (!config.rope_scaling) return 1.0;
  const config::RopeScaling& yarn = *config.rope_scaling;
  return mscale(yarn.factor, yarn.mscale) / mscale(yarn.factor, yarn.mscale_all_dim);
}

double softmax_scale(const config::ModelConfig& config) {
  const double base = 1.0 / std::sqrt(static_cast<double>(config.qk_head_dim()));
  if (!config.rope_scaling) return base;
  const double m = mscale(config.rope_scaling->factor, config.rope_scaling->mscale_all_dim);
  return base * m * m;
}

RopeTable make_rope_table(const config::ModelConfig& config, int64_t positions,
                          at::ScalarType dtype, at::Device device) {
  const auto target =
      at::TensorOptions(dtype == at::kDouble ? at::kDouble : at::kFloat).device(device);
  const at::Tensor frequencies = torch::tensor(rope_frequencies(config), at::kDouble);
  const at::Tensor angles = at::outer(at::arange(positions, at::kDouble), frequencies);
  const double factor = rope_attention_factor(config);
  return {(angles.cos() * factor).to(target), (angles.sin() * factor).to(target)};
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const at::Tensor pairs = x.to(cos.scalar_type()).unflatten(-1, {-1, 2});
  const at::Tensor a = pairs.select(-1, 0);
  const at::Tensor b = pairs.select(-1, 1);
  return at::stack({a * cos - b * sin, b * cos + a * sin}, -1).flatten(-2).to(x.scalar_type());
}

at::Tensor rotate_tails(const at::Tensor& heads_NX, const RopeTable& angles,
                        const config::ModelConfig& config) {
  const at::Tensor turned_NHX = heads_NX.view({heads_NX.size(0), -1, config.qk_head_dim()}).clone();
  at::Tensor tail_NHR = turned_NHX.narrow(2, config.qk_nope_head_dim, config.qk_rope_head_dim);
  tail_NHR.copy_(rotate(tail_NHR, angles.cos_TR.unsqueeze(1), angles.sin_TR.unsqueeze(1)));
  return turned_NHX.flatten(1);
}

}  // namespace dsmoe::nn
