#include "trainer/overlap_bench.h"

#include <algorithm>
#include <vector>

#include "configs/errors.h"
#include "trainer/agreement.h"
#include "trainer/random_batches.h"
#include "trainer/session.h"
#include "trainer/shared_state.h"
#include "trainer/stopwatch.h"
#include "trainer/train_step.h"

namespace dsmoe::train {
namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double seconds_of(const parallel::TrafficLog& log, const char* group) {
  const auto counts = log.find(group);
  if (counts == log.end()) return 0;
  const auto count = counts->second.find("all_to_all");
  return count == counts->second.end() ? 0 : count->second.seconds;
}

/// What a step kept waiting where it kept longest.
OverlapTimes of_slowest(const OverlapTimes& times, parallel::Communicator& world) {
  at::Tensor values =
      torch::tensor({times.step, times.gradient_sums, times.row_exchanges}, at::kDouble);
  world.all_reduce(values, parallel::ReduceOp::kMax);
  const auto* seconds = values.const_data_ptr<double>();
  return {seconds[0], seconds[1], seconds[2]};
}

OverlapTimes time_step(TrainContext& context, const MicroBatches& batches, int64_t step) {
  context.world.barrier();
  context.world.reset();
  StepReport report;
  const Stopwatch watch;
  compute_gradients(context, batches, step, 0, report);
  const double seconds = watch.seconds();
  const parallel::TrafficLog& log = context.world.log();
  const double rows =
      seconds_of(log, "ep") + seconds_of(log, "ep_across") + seconds_of(log, "ep_within");
  return of_slowest({seconds, report.time.gradient_sums, rows}, context.world);
}

/// Steps of one kind.
struct Samples {
  std::vector<double> step, gradient_sums, row_exchanges;

  void add(const OverlapTimes& times) {
    step.push_back(times.step);
    gradient_sums.push_back(times.gradient_sums);
    row_exchanges.push_back(times.row_exchanges);
  }
  [[nodiscard]] OverlapTimes medians() const {
    return {median(step), median(gradient_sums), median(row_exchanges)};
  }
};

}  // namespace

OverlapResult bench_overlap(const config::RunConfig& config, int64_t steps,
                            CommandContext& context) {
  Session session(config, context.world, context.ranks_on_cores);
  session.store.initialize(config.run.seed, config.model.initializer_range);
  Optimizer optimizer(config.optimizer, session.store);
  config::RunConfig changed = session.config;
  TrainContext train{changed,       session.topology, session.world, session.groups,
                     session.model, session.store,    optimizer};
  const MicroBatches batches = random_batches(config, session.topology);
  Samples samples[2];
  for (int64_t step = 1; step <= 2 * (steps + 1); ++step) {
    changed.parallel.overlap = step % 2 == 0;
    session.model->overlap_dispatch(changed.parallel.overlap);
    const OverlapTimes times = time_step(train, batches, step);
    if (step > 2) samples[changed.parallel.overlap ? 1 : 0].add(times);
  }
  return {samples[0].medians(), samples[1].medians()};
}

}  // namespace dsmoe::train
