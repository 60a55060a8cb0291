#pragma once

#include "configs/cluster_config.h"
#include "trainer/command.h"

namespace dsmoe::train {

/// Measures what a planner must know of this machine, on all ranks at a time: matrix products and
/// attention of the configuration's shapes, memory, calls and the network; no step of it. The same
/// on every rank. Collective. Throws ConfigError when the layout does not fit.
[[nodiscard]] config::ClusterConfig bench_cluster(const config::RunConfig& config,
                                                  CommandContext& context);

}  // namespace dsmoe::train
