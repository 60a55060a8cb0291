#pragma once

#include <cstdint>
#include <string>

#include "configs/run_config.h"
#include "parallel/topology.h"

namespace dsmoe::train {

/// Bytes that all ranks together send in one step if every token visits as many ranks as it may:
/// rows of all layers, forward and backward.
[[nodiscard]] int64_t estimate_row_bytes(const config::RunConfig& config,
                                         const parallel::Topology& topology);

/// Of these, the bytes between nodes; of ranks that are nodes of their own, all.
[[nodiscard]] int64_t estimate_node_row_bytes(const config::RunConfig& config,
                                              const parallel::Topology& topology);

/// Bytes that the stages of a pipeline send each other in one step: hidden rows and their
/// gradients.
[[nodiscard]] int64_t pipeline_bytes(const config::RunConfig& config,
                                     const parallel::Topology& topology);

/// The start-up table: every decision of a run.
[[nodiscard]] std::string run_summary(const config::RunConfig& config,
                                      const parallel::Topology& topology, int64_t threads);

}  // namespace dsmoe::train
