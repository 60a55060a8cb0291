#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "modules/adapter.h"
#include "modules/block.h"
#include "modules/layer_slices.h"
#include "modules/linear_layer.h"

namespace dsmoe::nn {

struct ModelOutput {
  at::Tensor hidden_NM;  ///< after the final norm, before the head; what goes into the next slice
  std::vector<RoutingRecord> routing;  ///< one per MoE layer, in order
  std::vector<uint64_t> row_keys{};    ///< of the rows; see SequenceInfo
};

/// The DeepSeek-V2 decoder, or the slices of it that a stage of a pipeline has. Parameters are
/// uninitialised until a ParameterStore takes them over.
class ModelImpl final : public torch::nn::Module {
 public:
  /// The communicators of ep must outlive the model. batch gives the pools of device-level
  /// dropping. slices: ascending; none: the whole model.
  ModelImpl(const config::ModelConfig& config, const config::DropConfig& drop,
            const config::BatchConfig& batch, const parallel::ExpertGroup& ep,
            std::vector<LayerSlice> slices = {}, const Recompute& recompute = {});

  /// Through the whole model. tokens_BT: int64; B = 0 is legal. Collective over ep.
  ModelOutput forward(const at::Tensor& tokens_BT, const SequenceInfo& sequences, bool dropping);

  /// Through one slice, slices()[slice]. input: tokens_BT where it is the first of the model, else
  /// the hidden rows that the slice before it made, [B * T, M]. Collective over ep.
  ModelOutput run_slice(size_t slice, const at::Tensor& input, const SequenceInfo& sequences,
                        bool dropping);
  [[nodiscard]] const std::vector<LayerSlice>& slices() const { return slices_; }
  /// In backward passes of slices that are run from now on: called with the number of a layer when
  /// its gradients and those of all behind it in the slice are computed, but for those put off.
  /// Not of layers before which nothing is trained. Empty: nobody is called.
  void when_layer_left(std::function<void(int64_t layer)> listener) {
    layer_left_ = std::move(listener);
  }

  /// Runs the new tokens of sequences, one after the other in tokens_N, on from their caches, which
  /// then hold them. Returns the hidden rows after the final norm, [N, M]; N = 0 is legal.
  /// Nothing is dropped, no gradient. Collective over ep.
  at::Tensor extend(const at::Tensor& tokens_N, std::span<const Continuation> parts);

  /// Sum of the cross-entropies of `targets_BT` (negative: none), each times its `counts_BT`
  /// (undefined: 1), float64, differentiable. Local.
  at::Tensor loss_sum(const ModelOutput& output, const at::Tensor& targets_BT,
                      const at::Tensor& counts_BT = {});

  /// The cross-entropy of each target, float64 [B * T], zero where there is none. No gradient.
  /// Local.
  at::Tensor losses(const ModelOutput& output, const at::Tensor& targets_BT);

  /// Logits of the given hidden rows, [N, V]. Local.
  at::Tensor logits(const at::Tensor& hidden_NM);

  [[nodiscard]] const config::ModelConfig& config() const { return config_; }
  /// What the modules compute with.
  [[nodiscard]] at::ScalarType dtype() const { return any_.scalar_type(); }
  [[nodiscard]] at::Device device() const { return any_.device(); }
  [[nodiscard]] const TokenDropper& dropper() const { return context_.dropper; }
  /// Routed experts of each layer that live on this rank, and this rank's place among their owners.
  [[nodiscard]] int64_t experts_held() const {
    return config_.n_routed_experts / context_.ep.size();
  }
  [[nodiscard]] int64_t expert_rank() const { return context_.ep.rank(); }
  /// Whether rows travel while the shared experts are computed, which is how a model begins.
  void overlap_dispatch(bool on) { context_.overlap = on; }
  /// Puts adapters beside the matrices that the plan names; of a stack of experts beside all or
  /// none. Before a ParameterStore takes the parameters over. Matrices that take none (embeddings,
  /// router) are passed over; throws c10::Error where a stack is named in part.
  void add_adapters(const AdapterPlan& plan);
  /// Which experts of the stack at `path` (as named_parameters() tells it) are trained; see
  /// ExpertsImpl::set_trained.
  void set_trained_experts(const std::string& path, const std::vector<int64_t>& slots);

 private:
  const RopeTable& rope(int64_t positions);

  config::ModelConfig config_;
  MoeContext context_;
  std::function<void(int64_t)> layer_left_;
  std::vector<LayerSlice> slices_;
  at::Tensor embed_tokens_;  ///< undefined where another stage has it, as are head and norm
  LinearLayer lm_head_{nullptr};
  std::map<int64_t, Block> layers_;  ///< by their numbers
  RmsNorm norm_{nullptr};
  at::Tensor any_;  ///< one of the parameters
  RopeTable rope_;
};
TORCH_MODULE(Model);

}  // namespace dsmoe::nn
