#include "trainer/gradients.h"

#include "modules/progress.h"
#include "parallel/pipeline_executor.h"
#include "trainer/counting_stage.h"
#include "trainer/loss_units.h"
#include "trainer/shared_state.h"
#include "trainer/stopwatch.h"
#include "trainer/training_stage.h"

namespace dsmoe::train {
namespace {

bool counts_beforehand(const config::RunConfig& config, const MicroBatches& batches) {
  return config.balance.scope == config::BalanceScope::kGlobalBatch && batches.size() > 1;
}

void run_micro_batches(StepWork& step) {
  const config::ParallelConfig& parallel = step.context.config.parallel;
  TrainingStage stage(step);
  parallel::ProcessGroups& groups = step.context.groups;
  const auto kind = groups.forward->size() == 1 ? parallel::ScheduleKind::kOneForwardOneBackward
                                                : parallel::schedule_kind(parallel.schedule);
  parallel::run_pipeline(
      stage, kind,
      {groups.forward->size(), static_cast<int64_t>(step.batches.size()),
       static_cast<int64_t>(step.context.model->slices().size()), parallel.put_off},
      {*groups.forward, *groups.backward});
}

/// Whether every router is trained, on whichever stage it is. Collective over world.
bool trains_routers(TrainContext& context) {
  at::Tensor frozen = at::full({1}, context.store.trains_routers() ? 0 : 1, at::kLong);
  if (context.world.size() > 1) context.world.all_reduce(frozen, parallel::ReduceOp::kMax);
  return frozen.item<int64_t>() == 0;
}

LogitsRecorder* recorder_of(const TrainContext& context, int64_t step) {
  return context.recorder != nullptr && context.recorder->due(step) ? context.recorder : nullptr;
}

double targets_of(const data::TokenBatch& batch) {
  if (batch.weights_BT.defined()) return batch.weights_BT.sum(at::kDouble).item<double>();
  return batch.targets_BT.ge(0).sum().item<double>();
}

int64_t non_empty_rows(const data::TokenBatch& batch) {
  if (batch.valid_BT.defined()) return batch.valid_BT.any(1).sum().item<int64_t>();
  return batch.inputs_BT.size(0);
}

}  // namespace

GlobalCounts count_batch(const MicroBatches& batches, int64_t first_sequence,
                         const config::RunConfig& config, parallel::Communicator& data) {
  GlobalCounts counts;
  for (const data::TokenBatch& batch : batches) {
    counts.targets += targets_of(batch);
    counts.rows += non_empty_rows(batch);
  }
  at::Tensor values =
      torch::tensor({counts.targets, static_cast<double>(counts.rows)}, at::kDouble);
  if (data.size() > 1) data.all_reduce(values, parallel::ReduceOp::kSum);
  return {values[0].item<double>(), count_units(batches, first_sequence, config, data),
          values[1].item<int64_t>()};
}

void compute_gradients(TrainContext& context, const MicroBatches& batches, int64_t step_number,
                       int64_t first_sequence, StepReport& report) {
  report.step = step_number;
  context.store.zero_gradients();
  GradientSums sums(context.config, context.model, context.store, context.groups);
  StepWork step{context,
                batches,
                first_sequence,
                count_batch(batches, first_sequence, context.config, *context.groups.data),
                StepStatistics(context.config),
                report.time,
                sums,
                recorder_of(context, step_number)};
  if (Interference::due(context.config, step_number) && trains_routers(context)) {
    step.interference.emplace(context.config.model);
  }
  const nn::ProgressScope moving([&world = context.world] { world.progress(); });
  Stopwatch watch;
  if (counts_beforehand(context.config, batches)) count_whole_step(step);
  report.time.forward += watch.lap();
  run_micro_batches(step);
  sums.finish();
  if (step.recorder != nullptr) step.recorder->write(step_number, context.store, context.groups);
  report.time.gradient_sums = sums.seconds();
  report.grad_norm = gradient_norm(context.store, context.groups);
  watch.lap();
  const NodeBytes bytes = node_bytes(context);
  step.statistics.add_node_bytes(bytes.across, bytes.within);
  step.statistics.reduce(context.world);
  step.statistics.fill(report, step.global);
  report.time.metrics += watch.lap();
  if (step.interference) step.interference->fill(report, context.store, context.groups);
}

}  // namespace dsmoe::train
