#include "trainer/step_bench.h"

#include <algorithm>
#include <vector>

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
  if (!context.model->device().is_cpu()) context.world.barrier();  // until the device is done
  StepTimes times{whole.seconds(), report.time.forward, report.time.backward, 0, watch.lap()};
  for (const auto& [group, counts] : context.world.log()) {
    for (const auto& [operation, count] : counts) times.communication += count.seconds;
  }
  return times;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Ranks may have logged different operations, as the ends of a pipeline do.
void sum_log(BenchResult& result, const parallel::TrafficLog& log, parallel::Communicator& world) {
  for (const char* group : {"data", "ep", "ep_across", "ep_within", "expert_replicas",
                            "pipeline_backward", "pipeline_forward"}) {
    for (const char* operation :
         {"all_gather", "all_reduce", "all_to_all", "reduce", "reduce_scatter", "send"}) {
      const auto counts = log.find(group);
      int64_t bytes = 0;
      if (counts != log.end() && counts->second.count(operation) > 0) {
        bytes = counts->second.at(operation).bytes;
      }
      at::Tensor sum = at::full({1}, bytes, at::kLong);
      if (world.size() > 1) world.all_reduce(sum, parallel::ReduceOp::kSum);
      if (sum.item<int64_t>() > 0) result.sent_bytes[group][operation] = sum.item<int64_t>();
    }
  }
}

std::vector<RankMemory> memory_by_rank(const RankMemory& own, parallel::Communicator& world) {
  at::Tensor all = at::zeros({world.size(), 2}, at::kLong);
  all[world.rank()][0] = own.peak_bytes;
  all[world.rank()][1] = own.estimated_bytes;
  if (world.size() > 1) world.all_reduce(all, parallel::ReduceOp::kSum);
  std::vector<RankMemory> memory;
  for (int64_t rank = 0; rank < world.size(); ++rank) {
    memory.push_back({all[rank][0].item<int64_t>(), all[rank][1].item<int64_t>()});
  }
  return memory;
}

}  // namespace

RankMemory BenchResult::largest_memory() const {
  RankMemory most;
  for (const RankMemory& one : memory) {
    most.peak_bytes = std::max(most.peak_bytes, one.peak_bytes);
    most.estimated_bytes = std::max(most.estimated_bytes, one.estimated_bytes);
  }
  return most;
}

BenchResult bench_steps(const config::RunConfig& config, int64_t steps, CommandContext& context) {
  constexpr int64_t kWarmUp = 2;
  Session session(config, context.world, context.ranks_on_cores);
  session.store.initialize(config.run.seed, config.model.initializer_range);
  Optimizer optimizer(config.optimizer, session.store);
  TrainContext train{session.config, session.topology, session.world, session.groups,
                     session.model,  session.store,    optimizer};
  const MicroBatches batches = random_batches(config, session.topology);
  BenchResult result;
  std::vector<double> seconds;
  for (int64_t step = 1; step <= kWarmUp + steps; ++step) {
    const StepTimes times = time_step(train, batches, step);
    if (step <= kWarmUp) continue;
    const bool better = result.best.total == 0 || times.total < result.best.total;
    seconds.push_back(times.total);
    if (better) result.best = times;
  }
  const parallel::TrafficLog log = session.world.log();
  sum_log(result, log, context.world);
  result.median_seconds = median(seconds);
  result.device = session.device.where;
  result.memory = memory_by_rank(
      {peak_resident_bytes(), estimate_memory(config, session.topology).total()}, context.world);
  return result;
}

}  // namespace dsmoe::train
