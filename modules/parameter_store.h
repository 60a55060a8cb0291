#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "modules/model.h"

namespace dsmoe::nn {

/// Dense parameters are the same on every rank; expert ones belong to a rank of the expert group.
enum class ParameterGroup { kDense, kExpert };

/// One published tensor and where it lies in the flat buffers.
struct StoredTensor {
  std::string name;
  std::vector<int64_t> shape;
  ParameterGroup group = ParameterGroup::kDense;
  int64_t offset = 0;
  int64_t numel = 0;
};

/// A flat buffer kind: weights, gradients or moments all have this form.
struct FlatPair {
  at::Tensor dense;
  at::Tensor expert;

  [[nodiscard]] at::Tensor& of(ParameterGroup group) {
    return group == ParameterGroup::kDense ? dense : expert;
  }
  /// The part of `tensor` in its published shape, a view.
  [[nodiscard]] at::Tensor view(const StoredTensor& tensor) const;
};

/// Owns a model's weights and gradients in two flat buffers, of which the module parameters are
/// views. Matrices stand before norm weights in the dense buffer: [0, decayed) decays, the rest
/// not. For bf16 compute the modules see bf16 copies, `weights` stays the fp32 master.
class ParameterStore {
 public:
  /// Takes over the parameters of `model`. compute: dtype of the modules; masters are float64 for
  /// float64, else float32.
  ParameterStore(Model& model, at::ScalarType compute);

  [[nodiscard]] const std::vector<StoredTensor>& tensors() const { return tensors_; }
  [[nodiscard]] FlatPair& weights() { return weights_; }
  [[nodiscard]] FlatPair& gradients() { return gradients_; }
  /// What the modules compute with: the masters themselves, or their copies in bf16.
  [[nodiscard]] FlatPair& compute() { return compute_; }
  [[nodiscard]] int64_t decayed_dense() const { return decayed_dense_; }

  void zero_gradients();

  /// Copies the masters to the modules' compute copies; nothing to do when they are the same.
  void publish();

  /// Fills matrices with N(0, std) and norms with one. Each published tensor has a generator of its
  /// own, seeded by (seed, its name): the same values on any layout.
  void initialize(int64_t seed, double std);

 private:
  std::vector<StoredTensor> tensors_;
  FlatPair weights_;
  FlatPair compute_;
  FlatPair gradients_;
  int64_t decayed_dense_ = 0;
};

}  // namespace dsmoe::nn
