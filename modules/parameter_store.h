#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "modules/model.h"

namespace dsmoe::nn {

/// Dense parameters are the same on every rank; expert ones belong to a rank of the expert group.
enum class ParameterGroup { kDense, kExpert };

/// The multiple of the learning rate at which the tensor of a published name is trained; 0: frozen.
using TrainingRate = std::function<double(const std::string& published_name)>;

/// Everything at the learning rate itself.
[[nodiscard]] TrainingRate train_all();
/// Nothing: neither gradients nor masters, for inference.
[[nodiscard]] TrainingRate train_nothing();

/// One published tensor and where it lies in the flat buffers.
struct StoredTensor {
  std::string name;
  std::vector<int64_t> shape;
  ParameterGroup group = ParameterGroup::kDense;
  int64_t offset = 0;  ///< in the weights
  int64_t numel = 0;
  double rate = 1.0;    ///< see TrainingRate
  int64_t state = 0;    ///< offset in gradients, moments and masters, which hold what is trained
  bool decays = false;  ///< under weight decay: all but norm weights

  [[nodiscard]] bool trains() const { return rate > 0; }
};

/// A published tensor that training does not reach by gradient: a router's correction bias. The
/// same on every rank; float32, or float64 in a float64 model, whatever the modules compute with.
struct StoredBuffer {
  std::string name;
  at::Tensor values;
};

/// A flat buffer kind: weights, or of what is trained, gradients, moments and masters.
struct FlatPair {
  at::Tensor dense;
  at::Tensor expert;

  [[nodiscard]] at::Tensor& of(ParameterGroup group) {
    return group == ParameterGroup::kDense ? dense : expert;
  }
  [[nodiscard]] const at::Tensor& of(ParameterGroup group) const {
    return group == ParameterGroup::kDense ? dense : expert;
  }
  /// The part of `tensor` in its published shape, a view: of the weights.
  [[nodiscard]] at::Tensor view(const StoredTensor& tensor) const;
  /// The same of a buffer that holds only what is trained.
  [[nodiscard]] at::Tensor state_view(const StoredTensor& tensor) const;
};

/// Trained numbers that lie together, both in the weights and in the buffers of what is trained.
struct TrainedRun {
  ParameterGroup group = ParameterGroup::kDense;
  int64_t offset = 0;
  int64_t state = 0;
  int64_t numel = 0;
  bool decays = false;
  double rate = 1.0;
};

/// Owns a model's weights in two flat buffers, of which the module parameters are views, and the
/// gradients of those that are trained in two more; a frozen weight has none, nor a master. For
/// bf16 compute there are float32 masters of what is trained; else the weights are their own.
class ParameterStore {
 public:
  /// Takes over the parameters of `model`. compute: dtype of the modules; masters are float64 for
  /// float64, else float32. Throws ConfigError where `rate` freezes half of a matrix that is one
  /// here: gate_proj without up_proj.
  ParameterStore(Model& model, at::ScalarType compute, const TrainingRate& rate = train_all());

  [[nodiscard]] const std::vector<StoredTensor>& tensors() const { return tensors_; }
  [[nodiscard]] const std::vector<StoredBuffer>& buffers() const { return buffers_; }
  /// What the modules compute with.
  [[nodiscard]] FlatPair& weights() { return weights_; }
  [[nodiscard]] const FlatPair& weights() const { return weights_; }
  /// Of what is trained; empty tensors where nothing is.
  [[nodiscard]] FlatPair& gradients() { return gradients_; }
  /// Float32 copies of what is trained, undefined where the weights are as precise.
  [[nodiscard]] FlatPair& masters() { return masters_; }
  [[nodiscard]] bool has_masters() const { return masters_.dense.defined(); }
  /// The most precise values of a tensor: its master where it has one, else its weights. A view.
  [[nodiscard]] at::Tensor precise(const StoredTensor& tensor) const;
  /// What the optimizer goes through.
  [[nodiscard]] const std::vector<TrainedRun>& runs() const { return runs_; }
  /// Whether every router is trained.
  [[nodiscard]] bool trains_routers() const;

  void zero_gradients();

  /// Copies the masters to the weights; nothing to do without masters.
  void publish();

  /// Fills matrices with N(0, std), norms with one, buffers with zero. Each published tensor has a
  /// generator of its own, seeded by (seed, its name): the same values on any layout.
  void initialize(int64_t seed, double std);

  /// Fills adapters as peft does: A uniform within 1 / sqrt(width of the input), B zero; seeded as
  /// above.
  void initialize_adapters(int64_t seed);

 private:
  struct Placement;
  void add_tensors(const Placement& placement, const TrainingRate& rate, int64_t first_expert);
  void add_run(const StoredTensor& tensor);
  void attach(Model& model, const Placement& placement, const TrainingRate& rate);
  void add_buffers(Model& model, at::ScalarType precise);
  [[nodiscard]] FlatPair make_state(at::ScalarType dtype) const;

  std::vector<StoredTensor> tensors_;
  std::vector<TrainedRun> runs_;
  std::vector<StoredBuffer> buffers_;
  FlatPair weights_;
  FlatPair masters_;
  FlatPair gradients_;
  int64_t state_sizes_[2] = {0, 0};
};

}  // namespace dsmoe::nn
