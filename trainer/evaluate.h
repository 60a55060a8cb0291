#pragma once

#include <cstdint>
#include <functional>

#include "data/eval_set.h"
#include "modules/model.h"
#include "parallel/process_groups.h"
#include "trainer/step_report.h"

namespace dsmoe::train {

/// How much of a held-out set is scored, and in what pieces.
struct EvalPlan {
  int64_t windows = 0;          ///< the first so many; at most the set's
  int64_t micro_sequences = 1;  ///< windows a rank takes at a time
  bool drop = false;            ///< device-level dropping, eval.drop
  int64_t stretch = 0;          ///< positions told together in EvalReport::positions; 0: not told
};

/// How a batch of windows is routed: each is a pool of its own, and none is protected.
[[nodiscard]] nn::SequenceInfo sequence_info(const data::TokenBatch& batch);

/// Scores the first windows of a set, spread over the ranks. No gradient, no counters of training
/// touched. `progress(done, of)` is called after each piece, on every rank. Collective over world.
[[nodiscard]] EvalReport evaluate(nn::Model& model, const data::EvalSet& set, const EvalPlan& plan,
                                  parallel::ProcessGroups& groups,
                                  const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace dsmoe::train
