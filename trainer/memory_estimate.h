#pragma once

#include <cstdint>

#include "configs/run_config.h"
#include "parallel/topology.h"
#include "trainer/held_weights.h"

namespace dsmoe::train {

/// Bytes of a number.
struct NumberWidths {
  int64_t master;   ///< a master weight, gradient or moment
  int64_t compute;  ///< an activation
};
[[nodiscard]] NumberWidths widths_of(config::Precision precision);

/// Memory that one rank needs, in bytes, estimated before anything is allocated.
struct MemoryEstimate {
  int64_t weights = 0;  ///< masters, and compute copies under bf16
  int64_t gradients = 0;
  int64_t optimizer = 0;
  int64_t activations = 0;  ///< of the micro-batches that are kept at a time, at the peak
  int64_t copies = 0;       ///< that a checkpoint is written from while training goes on
  int64_t data = 0;         ///< the corpora as tokens
  int64_t program = 0;      ///< LibTorch and everything else

  [[nodiscard]] int64_t total() const {
    return weights + gradients + optimizer + activations + copies + data + program;
  }
};
/// Of this rank.
[[nodiscard]] MemoryEstimate estimate_memory(const config::RunConfig& config,
                                             const parallel::Topology& topology);
[[nodiscard]] MemoryEstimate estimate_memory(const config::RunConfig& config,
                                             const parallel::Topology& topology,
                                             const HeldWeights& weights);
/// Of the pipeline stage that needs most.
[[nodiscard]] MemoryEstimate estimate_largest_memory(const config::RunConfig& config,
                                                     parallel::Topology topology);
[[nodiscard]] MemoryEstimate estimate_largest_memory(const config::RunConfig& config,
                                                     parallel::Topology topology,
                                                     const HeldWeights& weights);

}  // namespace dsmoe::train
