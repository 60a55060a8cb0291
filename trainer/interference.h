#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "configs/run_config.h"
#include "modules/model.h"
#include "modules/parameter_store.h"
#include "parallel/process_groups.h"
#include "trainer/step_report.h"

namespace dsmoe::train {

/// How hard the balance losses of each MoE layer pull on that layer's router weights, and against
/// what: the gradient of the layer's factored losses there, beside the rest of the gradient, which
/// is the language model's (and what the losses of layers above send down). Of one step.
class Interference {
 public:
  explicit Interference(const config::ModelConfig& model);

  /// Whether log.interference_every asks for this step, and there is something to measure.
  [[nodiscard]] static bool due(const config::RunConfig& config, int64_t step);

  /// Adds a micro-batch's pass through layers of this rank, between its forward and its backward
  /// pass. terms: see Objective. Local.
  void add(const nn::ModelOutput& output, const std::vector<at::Tensor>& terms);

  /// Fills the report's values, of each of its layers and of all routers as one vector, once the
  /// gradients are summed over ranks. Collective over world.
  void fill(StepReport& report, nn::ParameterStore& store, parallel::ProcessGroups& groups);

 private:
  config::ModelConfig model_;
  std::vector<int64_t> layers_;       ///< indices of the MoE layers
  std::vector<at::Tensor> pulls_EM_;  ///< float64, of each of them
};

}  // namespace dsmoe::train
