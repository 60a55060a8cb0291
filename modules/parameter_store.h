#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "modules/model.h"
#include "parallel/share.h"

namespace dsmoe::nn {

/// Dense parameters are the same on every rank of a stage; expert ones belong to a rank of the
/// expert group.
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
  /// The same of a buffer that holds only what is trained, and all of it: gradients; masters and
  /// moments where nothing is shared.
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

/// Which ranks share out the masters and moments of what they hold alike (ZeRO-1, arXiv
/// 1910.02054): dense ones, and the replicas of experts. One member: each rank has all of them.
struct StateSharing {
  parallel::Member dense{};
  parallel::Member expert{};

  [[nodiscard]] const parallel::Member& of(ParameterGroup group) const {
    return group == ParameterGroup::kDense ? dense : expert;
  }
  [[nodiscard]] bool any() const { return dense.size > 1 || expert.size > 1; }
};

/// The part of a tensor whose masters and moments this rank has.
struct OwnedPiece {
  int64_t begin = 0;  ///< numbers of the tensor, begin .. end - 1
  int64_t end = 0;
  int64_t state = 0;  ///< where they begin in the rank's masters and moments
};

/// Owns a model's weights in two flat buffers, of which the module parameters are views, and the
/// gradients of those that are trained in two more; a frozen weight has none, nor a master. For
/// bf16 compute there are float32 masters of what is trained; else the weights are their own.
/// Masters and the optimizer's moments may be shared out over ranks; gradients are whole,
/// and padded so that shares are equally long.
class ParameterStore {
 public:
  /// Takes over the parameters of `model`. compute: dtype of the modules; masters are float64 for
  /// float64, else float32. Throws ConfigError where `rate` freezes half of a matrix that is one
  /// here: gate_proj without up_proj. device: where all of it lies but the buffers, which the
  /// router reads on the host.
  ParameterStore(Model& model, at::ScalarType compute, const TrainingRate& rate = train_all(),
                 const StateSharing& sharing = {}, at::Device device = at::kCPU);

  [[nodiscard]] const std::vector<StoredTensor>& tensors() const { return tensors_; }
  [[nodiscard]] const std::vector<StoredBuffer>& buffers() const { return buffers_; }
  /// What the modules compute with.
  [[nodiscard]] FlatPair& weights() { return weights_; }
  [[nodiscard]] const FlatPair& weights() const { return weights_; }
  /// Of what is trained; empty tensors where nothing is.
  [[nodiscard]] FlatPair& gradients() { return gradients_; }
  [[nodiscard]] const FlatPair& gradients() const { return gradients_; }
  /// Float32 copies of this rank's share of what is trained, undefined where the weights are as
  /// precise.
  [[nodiscard]] FlatPair& masters() { return masters_; }
  [[nodiscard]] bool has_masters() const { return masters_.dense.defined(); }
  /// Zeros for this rank's share of what is trained, in the masters' dtype: moments.
  [[nodiscard]] FlatPair make_owned_state() const;
  /// Everything that is trained.
  [[nodiscard]] const std::vector<TrainedRun>& runs() const { return runs_; }
  /// What this rank updates: runs cut to its share. `state` counts from the share's beginning.
  [[nodiscard]] std::vector<TrainedRun> owned_runs() const;
  [[nodiscard]] const StateSharing& sharing() const { return sharing_; }
  [[nodiscard]] parallel::Share share(ParameterGroup group) const;
  /// Nothing where no number of the tensor is in this rank's share.
  [[nodiscard]] std::optional<OwnedPiece> owned(const StoredTensor& tensor) const;
  /// Sets a tensor, and its master as far as this rank has it.
  void set(const StoredTensor& tensor, const at::Tensor& values);
  /// Whether every router is trained.
  [[nodiscard]] bool trains_routers() const;

  void zero_gradients();

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
  [[nodiscard]] int64_t state_size(ParameterGroup group) const;
  [[nodiscard]] at::TensorOptions state_options() const;
  void fill(const std::function<void(const StoredTensor&, at::Tensor&)>& make);

  std::vector<StoredTensor> tensors_;
  std::vector<TrainedRun> runs_;
  std::vector<StoredBuffer> buffers_;
  FlatPair weights_;
  FlatPair masters_;
  FlatPair gradients_;
  int64_t state_sizes_[2] = {0, 0};
  StateSharing sharing_;
  at::ScalarType precise_;
  at::Device device_;
};

}  // namespace dsmoe::nn
