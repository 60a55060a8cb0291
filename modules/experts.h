#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <string>
#include <vector>

#include "configs/model_config.h"
#include "modules/adapter.h"
#include "modules/recompute.h"
#include "parallel/dispatcher.h"

namespace dsmoe::nn {

/// The routed experts that live on this rank, stacked: gate_up_proj [e, 2F, M], down_proj [e, M,
/// F].
class ExpertsImpl final : public torch::nn::Module {
 public:
  /// Holds experts [first, first + count) of the layer.
  ExpertsImpl(const config::ModelConfig& config, int64_t first, int64_t count,
              const Recompute& recompute = {});

  /// Per arrived row the sum over its experts here of weight * FFN(row), in ascending expert order.
  /// offsets: e + 1 values, the pairs of each expert. Returns rows_RM; rows without a pair are
  /// zero. Local; differentiable in rows and weights; weight gradients are added straight to
  /// gradient_of(parameter). Experts without a pair are skipped, their gradient stays as it is.
  at::Tensor forward(const parallel::Dispatched& in, const std::vector<int64_t>& offsets);

  [[nodiscard]] int64_t first_expert() const { return first_; }

  /// Trains only some experts of the stack `name` (gate_up_proj or down_proj): slots[i] is the
  /// place of expert i's gradient in the stack's, which then holds the trained ones alone; -1:
  /// frozen. Without it all are trained. An adapter's stacks are trained as a whole: nothing to do.
  void set_trained(const std::string& name, const std::vector<int64_t>& slots);

  /// Adds an adapter to each expert of the stack `name`, gate_up_proj as one matrix [2F, M].
  void adapt(const std::string& name, int64_t rank, double scale);

 private:
  /// A matrix that requires a gradient, if one does.
  [[nodiscard]] at::Tensor anchor() const;

  int64_t first_;
  Recompute recompute_;
  at::Tensor gate_up_proj_;
  at::Tensor down_proj_;
  Adapter gate_up_adapter_;
  Adapter down_adapter_;
  std::vector<int64_t> gate_up_slots_;
  std::vector<int64_t> down_slots_;
};
TORCH_MODULE(Experts);

}  // namespace dsmoe::nn
