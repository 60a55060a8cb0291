#include "trainer/train_step.h"

#include <cmath>

#include "modules/segment_mean.h"
#include "parallel/grad_sync.h"
#include "trainer/agreement.h"
#include "trainer/checkpoint.h"
#include "trainer/memory_usage.h"
#include "trainer/micro_batches.h"
#include "trainer/schedule.h"
#include "trainer/sequence_info.h"
#include "trainer/stopwatch.h"

namespace dsmoe::train {
namespace {

BatchCut cut_of(const TrainContext& context, const RunState& state, int64_t step) {
  const config::BatchConfig& batch = context.config.batch;
  return {state.sequences, batch_sequences(batch, step), batch.micro_sequences};
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

/// Segments with a token that is not padding.
int64_t non_empty(const nn::Segments& segments, const at::Tensor& valid_BT) {
  return nn::count_rows(segments, valid_BT).gt(0).sum().item<int64_t>();
}

StepStatistics new_statistics(const TrainContext& context) {
  const at::ScalarType dtype = compute_dtype(context.config.run.precision);
  const int64_t weight_bytes = dtype == at::kDouble ? 8 : 4;
  return {context.config.model, static_cast<int64_t>(c10::elementSize(dtype)), weight_bytes};
}

/// Bytes that the expert group's row exchanges and drop decisions sent from this rank.
int64_t expert_group_bytes(const TrainContext& context) {
  const auto group = context.world.log().find("ep");
  int64_t bytes = 0;
  if (group == context.world.log().end()) return bytes;
  for (const char* operation : {"all_to_all", "all_gather"}) {
    const auto count = group->second.find(operation);
    if (count != group->second.end()) bytes += count->second.bytes;
  }
  return bytes;
}

double communication_seconds(const parallel::TrafficLog& log) {
  double seconds = 0;
  for (const auto& [group, counts] : log) {
    for (const auto& [operation, count] : counts) seconds += count.seconds;
  }
  return seconds;
}

int64_t gathered_bytes(const TrainContext& context, const data::TokenBatch& batch) {
  int64_t moe_layers = 0;
  for (int64_t i = 0; i < context.config.model.num_hidden_layers; ++i) {
    if (context.config.model.is_moe_layer(i)) ++moe_layers;
  }
  return moe_layers * context.model->dropper().gathered_bytes(batch.inputs_BT.size(1));
}

void run_micro_batch(TrainContext& context, const data::TokenBatch& batch, int64_t first_sequence,
                     const GlobalCounts& counts, StepStatistics& statistics, PhaseSeconds& time) {
  Stopwatch watch;
  const nn::SequenceInfo sequences = sequence_info(batch, first_sequence, context.config);
  const nn::ModelOutput output =
      context.model->forward(batch.inputs_BT, sequences, /*dropping=*/true);
  const Objective objective = make_objective(context.model, output, batch.targets_BT,
                                             batch.valid_BT, context.config.balance, counts);
  time.forward += watch.lap();
  objective.total.backward();
  time.backward += watch.lap();
  statistics.add(output, objective, sequences);
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
  state.optimizer_steps = context.optimizer.steps();
}

}  // namespace

GlobalCounts count_batch(const MicroBatches& batches, parallel::Communicator& world) {
  GlobalCounts counts;
  for (const data::TokenBatch& batch : batches) {
    counts.targets += batch.targets_BT.ge(0).sum().item<int64_t>();
    const auto rows = nn::Segments::uniform(batch.inputs_BT.size(0), batch.inputs_BT.size(1));
    counts.sequences += non_empty(segments_of(batch), batch.valid_BT);
    counts.rows += non_empty(rows, batch.valid_BT);
  }
  at::Tensor values = torch::tensor({counts.targets, counts.sequences, counts.rows}, at::kLong);
  if (world.size() > 1) world.all_reduce(values, parallel::ReduceOp::kSum);
  return {values[0].item<int64_t>(), values[1].item<int64_t>(), values[2].item<int64_t>()};
}

void compute_gradients(TrainContext& context, const MicroBatches& batches, int64_t step,
                       int64_t first_sequence, StepReport& report) {
  report.step = step;
  context.store.zero_gradients();
  const GlobalCounts counts = count_batch(batches, context.world);
  StepStatistics statistics = new_statistics(context);
  const int64_t bytes_before = expert_group_bytes(context);
  for (const data::TokenBatch& batch : batches) {
    run_micro_batch(context, batch, first_sequence, counts, statistics, report.time);
    statistics.add_traffic(gathered_bytes(context, batch), 0);
  }
  statistics.add_traffic(0, expert_group_bytes(context) - bytes_before);
  parallel::sum_gradients(context.store.gradients().dense, context.store.gradients().expert,
                          context.world, *context.groups.expert_replicas);
  report.grad_norm = parallel::global_grad_norm(
      context.store.gradients().dense, context.store.gradients().expert, *context.groups.expert);
  statistics.reduce(context.world);
  statistics.fill(report, context.config.balance, counts);
}

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
