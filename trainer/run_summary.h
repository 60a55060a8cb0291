#pragma once

#include <cstdint>
#include <string>

#include "configs/run_config.h"
#include "parallel/topology.h"

namespace dsmoe::train {

/// Memory that one rank needs, in bytes, estimated before anything is allocated.
struct MemoryEstimate {
  int64_t weights = 0;  ///< masters, and compute copies under bf16
  int64_t gradients = 0;
  int64_t optimizer = 0;
  int64_t activations = 0;  ///< of one micro-batch, at its peak
  int64_t data = 0;         ///< the corpora as tokens
  int64_t program = 0;      ///< LibTorch and everything else

  [[nodiscard]] int64_t total() const {
    return weights + gradients + optimizer + activations + data + program;
  }
};
[[nodiscard]] MemoryEstimate estimate_memory(const config::RunConfig& config,
                                             const parallel::Topology& topology);

/// Bytes that all ranks together send in one step if every token visits as many ranks as it may:
/// rows of all layers, forward and backward.
[[nodiscard]] int64_t estimate_row_bytes(const config::RunConfig& config,
                                         const parallel::Topology& topology);

/// The start-up table: every decision of a run.
[[nodiscard]] std::string run_summary(const config::RunConfig& config,
                                      const parallel::Topology& topology, int64_t threads);

}  // namespace dsmoe::train
