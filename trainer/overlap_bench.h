#pragma once

#include <cstdint>

#include "configs/run_config.h"
#include "trainer/command.h"

namespace dsmoe::train {

/// Seconds of a step, on the rank that was slowest in each; what held up is the host's time.
struct OverlapTimes {
  double step = 0;
  double gradient_sums = 0;  ///< the calculation stood still for sums of gradients
  double row_exchanges = 0;  ///< and for the experts' rows, with the counts and addresses before
};

struct OverlapResult {
  OverlapTimes without, with;  ///< parallel.overlap
};

/// Medians of `steps` steps of each kind on random tokens, in turn, after one of each to warm up.
/// The same on every rank. Collective; at least 2 ranks.
[[nodiscard]] OverlapResult bench_overlap(const config::RunConfig& config, int64_t steps,
                                          CommandContext& context);

}  // namespace dsmoe::train
