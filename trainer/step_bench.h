#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "trainer/command.h"

namespace dsmoe::train {

/// Seconds of one step by phase.
struct StepTimes {
  double total = 0;
  double forward = 0;
  double backward = 0;
  double communication = 0;
  double optimizer = 0;
};

/// Of one rank, on the host.
struct RankMemory {
  int64_t peak_bytes = 0;
  int64_t estimated_bytes = 0;
};

struct BenchResult {
  StepTimes best;             ///< the step with the smallest total
  double median_seconds = 0;  ///< of a step
  /// Of the last step, summed over ranks: bytes by group, then by operation.
  std::map<std::string, std::map<std::string, int64_t>> sent_bytes;
  at::Device device = at::kCPU;
  std::vector<RankMemory> memory;  ///< by rank

  /// Of each, that of the rank that has most.
  [[nodiscard]] RankMemory largest_memory() const;
};

/// Runs two steps to warm up and `steps` timed ones on random tokens; every step is a whole one:
/// forward, backward, norm, clip, AdamW. Collective.
[[nodiscard]] BenchResult bench_steps(const config::RunConfig& config, int64_t steps,
                                      CommandContext& context);

}  // namespace dsmoe::train
