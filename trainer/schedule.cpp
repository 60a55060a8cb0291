#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dsmoe::train {
namespace {

double shape(const config::ScheduleConfig& s, double fraction) {
  switch (s.kind) {
    case config::ScheduleKind::kConstant:
      return 1.0;
    case config::ScheduleKind::kStep: {
      const auto passed =
          std::count_if(s.at.begin(), s.at.end(), [&](double at) { return fraction >= at; });
      return std::pow(s.factor, static_cast<double>(passed));
    }
    case config::ScheduleKind::kCosine:
      return s.min_ratio +
             (1.0 - s.min_ratio) * 0.5 * (1.0 + std::cos(std::numbers::pi * fraction));
    case config::ScheduleKind::kLinear:
      return 1.0 - (1.0 - s.min_ratio) * fraction;
    case config::ScheduleKind::kWsd: {
      const double into = std::max(0.0, fraction - (1.0 - s.decay_fraction));
      return 1.0 - (1.0 - s.min_ratio) * (s.decay_fraction > 0 ? into / s.decay_fraction : 0.0);
    }
  }
  return 1.0;
}

}  // namespace

int64_t batch_sequences(const config::BatchConfig& batch, int64_t step) {
  if (batch.ramp_from == 0 || step > batch.ramp_steps) return batch.sequences;
  const double share = static_cast<double>(step - 1) / static_cast<double>(batch.ramp_steps);
  const double wanted = static_cast<double>(batch.ramp_from) +
                        share * static_cast<double>(batch.sequences - batch.ramp_from);
  const auto pools = static_cast<int64_t>(wanted) / batch.pool;
  return std::max(batch.pool, pools * batch.pool);
}

int64_t total_steps(const config::RunConfig& config) {
  if (config.schedule.steps > 0) return config.schedule.steps;
  int64_t step = 0;
  int64_t tokens = 0;
  while (tokens < config.schedule.tokens) {
    tokens += batch_sequences(config.batch, ++step) * config.data.sequence_length;
    if (step <= config.batch.ramp_steps) continue;
    const int64_t per_step = config.batch.sequences * config.data.sequence_length;
    const int64_t left = std::max<int64_t>(0, config.schedule.tokens - tokens);
    return step + (left + per_step - 1) / per_step;
  }
  return step;
}

int64_t total_tokens(const config::RunConfig& config) {
  const int64_t steps = total_steps(config);
  const int64_t ramp = std::min(steps, config.batch.ramp_steps);
  int64_t sequences = (steps - ramp) * config.batch.sequences;
  for (int64_t step = 1; step <= ramp; ++step) sequences += batch_sequences(config.batch, step);
  return sequences * config.data.sequence_length;
}

double learning_rate(const config::ScheduleConfig& schedule, double peak, int64_t step,
                     double fraction) {
  const double warm = step < schedule.warmup_steps
                          ? static_cast<double>(step) / static_cast<double>(schedule.warmup_steps)
                          : 1.0;
  return peak * warm * shape(schedule, std::min(fraction, 1.0));
}

}  // namespace dsmoe::train
