#include "trainer/step_bench.h"

#include "trainer/memory_estimate.h"
#include "trainer/memory_usage.h"
#include "trainer/micro_batches.h"
#include "trainer/session.h"
#include "trainer/shared_state.h"
#include "trainer/stopwatch.h"
#include "trainer/train_step.h"

namespace dsmoe::train {
namespace {

data::TokenBatch random_batch(data::SequenceRange range, const config::RunConfig& config) {
  data::TokenBatch batch;
  const int64_t count = range.end - range.begin;
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(range.begin));
  const at::Tensor tokens =
      at::randint(config.model.vocab_size, {count, config.data.sequence_length + 1}, generator,
                  at::TensorOptions(at::kLong));
  batch.inputs_BT = tokens.slice(1, 0, config.data.sequence_length).contiguous();
  batch.targets_BT = tokens.slice(1, 1).contiguous();
  for (int64_t s = range.begin; s < range.end; ++s) batch.sequence_numbers.push_back(s);
  return batch;
}

MicroBatches random_batches(const config::RunConfig& config, const parallel::Topology& topology) {
  const BatchCut cut = cut_batch(config, 0, config.batch.sequences);
  MicroBatches batches;
  for (int64_t i = 0; i < num_micro_batches(cut, topology); ++i) {
    batches.push_back(random_batch(micro_batch(cut, topology, i), config));
  }
  return batches;
}

StepTimes time_step(TrainContext& context, const MicroBatches& batches, int64_t step) {
  context.world.reset();
  StepReport report;
  const Stopwatch whole;
  compute_gradients(context, batches, step, 0, report);
  Stopwatch watch;
  context.optimizer.step(context.config.optimizer.lr,
                         clip_divisor(report.grad_norm, context.config.optimizer.clip_norm));
  gather_weights(context.store, context.groups);
  if (!context.model->device().is_cpu()) context.world.barrier();  // until the device is done
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
  result.device = session.device.where;
  result.peak_bytes = peak_resident_bytes();
  result.estimated_bytes = estimate_memory(config, session.topology).total();
  return result;
}

}  // namespace dsmoe::train
