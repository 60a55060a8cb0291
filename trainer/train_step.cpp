#include "trainer/train_step.h"

#include <cmath>

#include "trainer/agreement.h"
#include "trainer/balance_bias.h"
#include "trainer/memory_usage.h"
#include "trainer/micro_batches.h"
#include "trainer/schedule.h"
#include "trainer/shared_state.h"
#include "trainer/stopwatch.h"

namespace dsmoe::train {
namespace {

BatchCut cut_of(const TrainContext& context, const RunState& state, int64_t step) {
  return cut_batch(context.config, state.sequences, batch_sequences(context.config.batch, step));
}

MicroBatches load_batches(const TrainContext& context, data::Loader& loader, const BatchCut& cut) {
  MicroBatches batches;
  const int64_t count = num_micro_batches(cut, context.topology);
  // A token outside the vocabulary shows only now, on the rank that reads it.
  agree(context.world, [&] {
    for (int64_t i = 0; i < count; ++i) {
      batches.push_back(loader.load(micro_batch(cut, context.topology, i)));
    }
  });
  return batches;
}

/// The loader reads one range ahead; the next step's first is the one that would be waited for.
void prefetch_next(const TrainContext& context, data::Loader& loader, const RunState& state,
                   int64_t step) {
  loader.prefetch(micro_batch(cut_of(context, state, step + 1), context.topology, 0));
}

double communication_seconds(const parallel::TrafficLog& log) {
  double seconds = 0;
  for (const auto& [group, counts] : log) {
    for (const auto& [operation, count] : counts) seconds += count.seconds;
  }
  return seconds;
}

/// Whether the step may be taken: everything finite, on every rank alike.
bool finite(const StepReport& report) {
  return std::isfinite(report.grad_norm) && std::isfinite(report.loss_total);
}

void update_weights(TrainContext& context, RunState& state, StepReport& report) {
  report.skipped = !finite(report);
  state.skipped_in_row = report.skipped ? state.skipped_in_row + 1 : 0;
  if (report.skipped) return;
  context.optimizer.step(report.lr,
                         clip_divisor(report.grad_norm, context.config.optimizer.clip_norm));
  gather_weights(context.store, context.groups);
  if (context.config.balance.bias_rate > 0) {
    move_biases(context.store, report.layers, context.config.balance.bias_rate);
  }
  state.optimizer_steps = context.optimizer.steps();
}

}  // namespace

StepReport train_step(TrainContext& context, data::Loader& loader, RunState& state) {
  Stopwatch step_watch;
  StepReport report;
  context.world.reset();
  const int64_t step = state.step + 1;
  const BatchCut cut = cut_of(context, state, step);
  const double fraction =
      static_cast<double>(state.tokens) / static_cast<double>(total_tokens(context.config));
  report.lr = learning_rate(context.config.schedule, context.config.optimizer.lr, step, fraction);

  Stopwatch watch;
  const MicroBatches batches = load_batches(context, loader, cut);
  report.time.data = watch.lap();
  compute_gradients(context, batches, step, cut.first, report);

  watch.lap();
  state.step = step;
  state.sequences += cut.sequences;
  state.tokens += cut.sequences * context.config.data.sequence_length;
  prefetch_next(context, loader, state, step);
  update_weights(context, state, report);
  report.time.optimizer = watch.lap();

  report.time.communication = communication_seconds(context.world.log());
  report.tokens = state.tokens;
  report.seconds = step_watch.seconds();
  report.tokens_per_second =
      static_cast<double>(cut.sequences * context.config.data.sequence_length) / report.seconds;
  report.memory_bytes = resident_bytes();
  return report;
}

}  // namespace dsmoe::train
