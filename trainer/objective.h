#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "configs/run_config.h"
#include "data/token_batch.h"
#include "modules/balance_loss.h"
#include "modules/model.h"
#include "trainer/balance_scope.h"

namespace dsmoe::train {

/// What every term is divided by: agreed by all ranks before any micro-batch runs.
struct GlobalCounts {
  double targets = 0;  ///< tokens that are predicted, each as often as it counts
  int64_t units = 0;   ///< that balance losses are means over, see balance.scope
  int64_t rows = 0;    ///< packed rows, of which some are protected
};

/// Raw balance losses of a layer, summed over units: expert, device, communication, z,
/// complementary.
using BalanceSums = std::array<double, 5>;

/// The objective of one micro-batch: its share of the global sum, so that shares add up to the same
/// value whatever the layout.
struct Objective {
  at::Tensor total;                       ///< 0-d float64, what backward() starts from
  std::vector<at::Tensor> balance_terms;  ///< of each layer within total; none without factors
  double lm_sum = 0;                      ///< nats, not divided
  std::vector<BalanceSums> balance_sums;  ///< what this micro-batch contributes, per layer
};

/// Whether any factor is set, so that there is a balance term at all.
[[nodiscard]] bool has_balance_terms(const config::BalanceConfig& balance);

/// The sum over the layers of a pass of alpha * L / units, V2 (23), (26), (29). counts: of whole
/// units. A factor of 0 adds no graph node; its raw value is still reported. Local.
[[nodiscard]] Objective balance_objective(const nn::ModelOutput& output, const nn::LossUnits& units,
                                          const LayerCounts& counts,
                                          const config::RunConfig& config,
                                          const GlobalCounts& global);

/// Adds LM cross-entropy / targets. output: of the whole model, or of its last slice. Local.
void add_language_loss(Objective& objective, nn::Model& model, const nn::ModelOutput& output,
                       const data::TokenBatch& batch, const GlobalCounts& global);

}  // namespace dsmoe::train
