#pragma once

#include <cstdint>

#include "configs/run_config.h"

namespace dsmoe::train {

/// Sequences in the global batch of `step` (from 1): grows linearly from batch.ramp_from over
/// batch.ramp_steps steps, in whole pools.
[[nodiscard]] int64_t batch_sequences(const config::BatchConfig& batch, int64_t step);

/// Length of the run: schedule.steps, or as many steps as schedule.tokens take.
[[nodiscard]] int64_t total_steps(const config::RunConfig& config);

/// Tokens of the whole run: what the fractions of the learning rate's schedule refer to.
[[nodiscard]] int64_t total_tokens(const config::RunConfig& config);

/// Learning rate of `step` (from 1), `fraction` of the run's tokens being consumed before it:
/// linear warm-up over warmup_steps, then by kind. step: times `factor` at each of `at`;
/// cosine, linear: down to min_ratio at the end; wsd: constant, then linear over decay_fraction.
[[nodiscard]] double learning_rate(const config::ScheduleConfig& schedule, double peak,
                                   int64_t step, double fraction);

}  // namespace dsmoe::train
