#pragma once

#include "configs/run_config.h"
#include "parallel/topology.h"
#include "trainer/gradients.h"

namespace dsmoe::train {

/// This rank's micro-batches of the first step, of random tokens: for measuring.
[[nodiscard]] MicroBatches random_batches(const config::RunConfig& config,
                                          const parallel::Topology& topology);

}  // namespace dsmoe::train
