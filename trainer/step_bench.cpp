#include "trainer/step_bench.h"

#include "trainer/memory_estimate.h"
#include "trainer/memory_usage.h"
#include "trainer/random_batches.h"
#include "trainer/session.h"
#include "trainer/shared_state.h"
#include "trainer/stopwatch.h"
#include "trainer/train_step.h"

namespace dsmoe::train {
namespace {

StepTimes time_step(TrainContext& context, const MicroBatches& batches, int64_t step) {
  context.world.reset();
  StepReport report;
  const Stopwatch whole;
  compute_gradients(context, batches, step, 0, report);
  Stopwatch watch;
  context.optimizer.step(context.config.optimizer.lr,
                         clip_divisor(report.grad_norm, context.config.optimizer.clip_norm));
  gather_weights(context.store, context.groups);
  StepTimes times{whole.seconds(), report.time.forward, report.time.backward, 0, watch.lap()};
  for (const auto& [group, counts] : context.world.log()) {
    for (const auto& [operation, count] : counts) times.communication += count.seconds;
  }
  return times;
}

}  // namespace

BenchResult bench_steps(const config::RunConfig& config, int64_t steps, CommandContext& context) {
  constexpr int64_t kWarmUp = 2;
  Session session(config, context.world, context.ranks_on_cores);
  session.store.initialize(config.run.seed, config.model.initializer_range);
  Optimizer optimizer(config.optimizer, session.store);
  TrainContext train{session.config, session.topology, session.world, session.groups,
                     session.model,  session.store,    optimizer};
  const MicroBatches batches = random_batches(config, session.topology);
  BenchResult result;
  for (int64_t step = 1; step <= kWarmUp + steps; ++step) {
    const StepTimes times = time_step(train, batches, step);
    const bool better = result.best.total == 0 || times.total < result.best.total;
    if (step > kWarmUp && better) result.best = times;
  }
  result.peak_bytes = peak_resident_bytes();
  result.estimated_bytes = estimate_memory(config, session.topology).total();
  return result;
}

}  // namespace dsmoe::train
