#pragma once

#include <vector>

#include "configs/run_config.h"
#include "modules/balance_counts.h"
#include "modules/model.h"
#include "parallel/communicator.h"

namespace dsmoe::train {

/// The counts of every MoE layer, in the order of the records.
using LayerCounts = std::vector<nn::BalanceCounts>;

/// Of the rows here. Local.
[[nodiscard]] LayerCounts count_layers(const nn::ModelOutput& output, const nn::LossUnits& units,
                                       const config::RunConfig& config);

/// Adds `more` to `sum`; to nothing, where `sum` is empty. Local.
void add_counts(LayerCounts& sum, const LayerCounts& more);

/// Sums the counts over the ranks of a group, all layers in one all-reduce. Collective over group.
void reduce_counts(LayerCounts& counts, parallel::Communicator& group);

}  // namespace dsmoe::train
