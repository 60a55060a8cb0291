#pragma once

#include "configs/cluster_config.h"
#include "trainer/command.h"

namespace dsmoe::train {

/// Measures what a planner must know of this machine, on all ranks at a time: matrix products and
/// attention of the configuration's shapes, memory, calls and the network; no step of it. Links are
/// those of the rank's own node and, where there are several machines, of its place in each; all
/// else is a mean over the ranks. Collective. Throws ConfigError when the layout does not fit, and
/// UserError where the machines have unequal numbers of ranks.
[[nodiscard]] config::ClusterConfig bench_cluster(const config::RunConfig& config,
                                                  CommandContext& context);

}  // namespace dsmoe::train
