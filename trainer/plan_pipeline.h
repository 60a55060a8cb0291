#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/pipeline_schedule.h"

namespace dsmoe::train {

/// Where a step's micro-batches go through.
struct PlannedPipeline {
  std::string schedule;
  int64_t chunks = 1;
  int64_t micro_batches = 1;
  std::vector<parallel::PassCosts> costs;  ///< of each stage, a micro-batch
  double message = 0;                      ///< seconds from stage to stage
  double ranks_per_core = 1;
  double put_off = 1;  ///< of what zb_h1 puts off
};

struct PipelineTime {
  double length = 0;
  double busy = 0;  ///< of a stage, the mean
};

/// Simulates the schedule. A long run of micro-batches repeats itself: what is beyond a few rounds
/// takes as long as the slowest stage does. Where ranks share cores, who waits leaves its core to
/// others, so that the step is shorter, but no shorter than the work of all.
[[nodiscard]] PipelineTime pipeline_time(const PlannedPipeline& pipeline);

}  // namespace dsmoe::train
