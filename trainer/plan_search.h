#pragma once

#include <string>
#include <vector>

#include "trainer/plan_step.h"

namespace dsmoe::train {

/// Why layouts are out of the question, and how many share that reason.
struct Rejection {
  std::string reason;  ///< with the numbers of the one that comes closest
  int64_t count = 0;
};

struct PlanRanking {
  std::vector<StepPlan> best;  ///< by tokens/s, the fastest first
  int64_t fitting = 0;         ///< layouts that fit, shown or not
  int64_t tried = 0;
  std::vector<Rejection> rejected;  ///< the commonest first
};

/// Plans every layout of the cluster's ranks: pipeline x expert x replicas, with and without
/// ZeRO-1, each schedule, what is recomputed, and micro-batches of 1, 2, 4 and 8 sequences; the
/// global batch stays. Keeps the `most` fastest that fit. Local.
[[nodiscard]] PlanRanking rank_layouts(const config::RunConfig& config, const Planner& planner,
                                       int64_t most);

}  // namespace dsmoe::train
