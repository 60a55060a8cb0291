#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace dsmoe::test {

/// Normal values from a seed.
inline at::Tensor random(at::IntArrayRef shape, int64_t seed, double std = 1.0) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  return at::randn(shape, generator, at::TensorOptions(at::kDouble)) * std;
}

/// Relative distance in norm, |a - b| / |b|; |a| where b is zero, infinity on unequal shapes.
inline double distance(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return INFINITY;
  const at::Tensor want = b.detach().to(at::kDouble);
  const double gap = (a.detach().to(at::kDouble) - want).norm().item<double>();
  const double size = want.norm().item<double>();
  return size == 0.0 ? gap : gap / size;
}

/// Largest difference between two tensors of one shape.
inline double gap(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return INFINITY;
  if (a.numel() == 0) return 0.0;
  return (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>();
}

/// Makes a module float64 and fills it: matrices with N(0, std), norm weights around one.
inline void randomize(torch::nn::Module& module, int64_t seed, double std = 0.5) {
  module.to(at::kDouble);
  const at::NoGradGuard no_grad;
  for (const auto& item : module.named_parameters()) {
    const bool norm = item.value().dim() == 1;
    item.value().copy_(random(item.value().sizes(), ++seed, std) + (norm ? 1.0 : 0.0));
  }
}

/// Derivative of f where entry i of `values` moves, in place and back again: central differences of
/// fourth order.
inline double slope(const std::function<double()>& f, const at::Tensor& values, int64_t i) {
  constexpr double kStep = 1e-4;
  const at::NoGradGuard no_grad;
  double& x = values.data_ptr<double>()[i];
  const double before = x;
  const auto at = [&](double step) {
    x = before + step;
    return f();
  };
  const double near = at(kStep) - at(-kStep);
  const double far = at(2.0 * kStep) - at(-2.0 * kStep);
  x = before;
  return (8.0 * near - far) / (12.0 * kStep);
}

/// Relative distance between `gradient` and the slopes of f in every entry of `values`,
/// which f reads where it stands.
inline double gradient_error(const std::function<double()>& f, const at::Tensor& values,
                             const at::Tensor& gradient) {
  const at::Tensor numeric = at::zeros(values.sizes(), at::kDouble);
  for (int64_t i = 0; i < values.numel(); ++i) {
    numeric.data_ptr<double>()[i] = slope(f, values, i);
  }
  return distance(gradient, numeric);
}

}  // namespace dsmoe::test
