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

/// A published tensor that training does not reach by gradient: a router's correction bias. The
/// same on every rank; float32, or float64 in a float64 model, whatever the modules compute with.
struct StoredBuffer {
  std::string name;
  at::Tensor values;
};

enum class Purpose { kTraining, kInference };

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
/// not. For bf16 compute the modules see bf16 copies, `weights` stays the fp32 master. For
/// inference there are neither gradients nor masters: `weights` is what the modules compute with.
class ParameterStore {
 public:
  /// Takes over the parameters of `model`. compute: dtype of the modules; masters are float64 for
  /// float64, else float32.
  ParameterStore(Model& model, at::ScalarType compute, Purpose purpose = Purpose::kTraining);

  [[nodiscard]] const std::vector<StoredTensor>& tensors() const { return tensors_; }
  [[nodiscard]] const std::vector<StoredBuffer>& buffers() const { return buffers_; }
  [[nodiscard]] FlatPair& weights() { return weights_; }
  /// Undefined tensors for inference.
  [[nodiscard]] FlatPair& gradients() { return gradients_; }
  /// What the modules compute with: the masters themselves, or their copies in bf16.
  [[nodiscard]] FlatPair& compute() { return compute_; }
  [[nodiscard]] int64_t decayed_dense() const { return decayed_dense_; }

  void zero_gradients();

  /// Copies the masters to the modules' compute copies; nothing to do when they are the same.
  void publish();

  /// Fills matrices with N(0, std), norms with one, buffers with zero. Each published tensor has a
  /// generator of its own, seeded by (seed, its name): the same values on any layout.
  void initialize(int64_t seed, double std);

 private:
  void add_tensors(const std::string& path, const at::Tensor& parameter, ParameterGroup group,
                   int64_t offset, int64_t first_expert);
  void add_buffers(Model& model, at::ScalarType master);

  std::vector<StoredTensor> tensors_;
  std::vector<StoredBuffer> buffers_;
  FlatPair weights_;
  FlatPair compute_;
  FlatPair gradients_;
  int64_t decayed_dense_ = 0;
};

}  // namespace dsmoe::nn
