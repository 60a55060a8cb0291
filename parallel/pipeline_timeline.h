#pragma once

#include <cstdint>
#include <vector>

#include "parallel/pipeline_schedule.h"

namespace dsmoe::parallel {

/// An action with its times.
struct TimedAction {
  PipelineAction action;
  double begin = 0;
  double end = 0;
};

/// What happens when the stages work off their lists.
struct PipelineTimeline {
  std::vector<std::vector<TimedAction>> stages;

  /// End of the last action.
  [[nodiscard]] double length() const;
  /// Time in which a stage does nothing until length().
  [[nodiscard]] double idle(int64_t stage) const;
  /// The most micro-batches, or chunks of one, between their forward and the end of their backward
  /// pass.
  [[nodiscard]] int64_t live_activations(int64_t stage) const;
};

/// Runs a schedule: an action begins when its stage has done those before it and its input has
/// arrived. Between two neighbours, in each direction, lie at most `capacity` messages: a stage
/// whose message finds no room waits until the oldest was taken up. Messages take no time. Throws
/// std::logic_error naming the stages and what they wait for where nothing can go on.
[[nodiscard]] PipelineTimeline simulate(ScheduleKind kind, const PipelineShape& shape,
                                        const PassCosts& costs, int64_t capacity = 1);

/// The same with costs of each stage, and messages that are `message` under way.
[[nodiscard]] PipelineTimeline simulate_stages(ScheduleKind kind, const PipelineShape& shape,
                                               const std::vector<PassCosts>& costs, double message,
                                               int64_t capacity = 1);

}  // namespace dsmoe::parallel
