#include "trainer/gradients.h"

#include "trainer/balance_scope.h"
#include "trainer/interference.h"
#include "trainer/loss_units.h"
#include "trainer/sequence_info.h"
#include "trainer/shared_state.h"
#include "trainer/step_statistics.h"
#include "trainer/stopwatch.h"

namespace dsmoe::train {
namespace {

/// What the micro-batches of one step share.
struct Step {
  TrainContext& context;
  int64_t first_sequence;
  GlobalCounts global;
  StepStatistics statistics;
  PhaseSeconds& time;
  LogitsRecorder* recorder;  ///< null: not in this step
  std::optional<Interference> interference{};
  LayerCounts whole{};  ///< of all micro-batches and ranks, where the scope asks for it beforehand
};

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

/// Bytes that the drop decisions of one forward pass gather.
int64_t gathered_bytes(const TrainContext& context, const data::TokenBatch& batch) {
  return context.config.model.num_moe_layers() *
         context.model->dropper().gathered_bytes(batch.inputs_BT.size(1));
}

bool counts_beforehand(const config::RunConfig& config, const MicroBatches& batches) {
  return config.balance.scope == config::BalanceScope::kGlobalBatch && batches.size() > 1;
}

/// The units of the whole step, counted by a forward pass without gradient.
void count_whole_step(Step& step, const MicroBatches& batches) {
  const at::NoGradGuard no_grad;
  TrainContext& context = step.context;
  const int64_t bytes_before = expert_group_bytes(context);
  for (const data::TokenBatch& batch : batches) {
    const nn::SequenceInfo sequences = sequence_info(batch, step.first_sequence, context.config);
    const auto output = context.model->forward(batch.inputs_BT, sequences, /*dropping=*/true);
    const auto units =
        loss_units(batch, step.first_sequence, context.config, *context.groups.expert);
    add_counts(step.whole, count_layers(output, units, context.config));
    step.statistics.add_counting_pass(output);
    step.statistics.add_gathered(gathered_bytes(context, batch));
  }
  reduce_counts(step.whole, context.world);
  step.statistics.add_measured(expert_group_bytes(context) - bytes_before, 0);
}

/// The counts of whole units: those here, and what other ranks have of the same units.
LayerCounts counts_of_units(const Step& step, const nn::ModelOutput& output,
                            const nn::LossUnits& units) {
  if (!step.whole.empty()) return step.whole;
  TrainContext& context = step.context;
  const config::RunConfig& config = context.config;
  LayerCounts counts = count_layers(output, units, config);
  if (config.balance.scope == config::BalanceScope::kGlobalBatch) {
    reduce_counts(counts, context.world);
  } else if (config.balance.scope == config::BalanceScope::kPool &&
             config.batch.pools_span(context.groups.expert->size())) {
    reduce_counts(counts, *context.groups.expert);
  }
  return counts;
}

void run_micro_batch(Step& step, const data::TokenBatch& batch) {
  Stopwatch watch;
  TrainContext& context = step.context;
  const int64_t bytes_before = expert_group_bytes(context);
  const nn::SequenceInfo sequences = sequence_info(batch, step.first_sequence, context.config);
  const nn::ModelOutput output =
      context.model->forward(batch.inputs_BT, sequences, /*dropping=*/true);
  const nn::LossUnits units =
      loss_units(batch, step.first_sequence, context.config, *context.groups.expert);
  const Objective objective =
      make_objective(context.model, output, batch, units, counts_of_units(step, output, units),
                     context.config.balance, step.global);
  step.time.forward += watch.lap();
  if (step.interference) step.interference->add(output, objective.balance_terms);
  const int64_t bytes_forward = expert_group_bytes(context);
  objective.total.backward();
  step.time.backward += watch.lap();
  step.statistics.add_measured(bytes_forward - bytes_before,
                               expert_group_bytes(context) - bytes_forward);
  step.statistics.add(output, objective, sequences, batch);
  step.time.metrics += watch.lap();
  if (step.recorder != nullptr) step.recorder->add(output, batch);
  step.statistics.add_gathered(gathered_bytes(context, batch));
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
                         const config::RunConfig& config, parallel::Communicator& world) {
  GlobalCounts counts;
  for (const data::TokenBatch& batch : batches) {
    counts.targets += targets_of(batch);
    counts.rows += non_empty_rows(batch);
  }
  at::Tensor values =
      torch::tensor({counts.targets, static_cast<double>(counts.rows)}, at::kDouble);
  if (world.size() > 1) world.all_reduce(values, parallel::ReduceOp::kSum);
  return {values[0].item<double>(), count_units(batches, first_sequence, config, world),
          values[1].item<int64_t>()};
}

void compute_gradients(TrainContext& context, const MicroBatches& batches, int64_t step_number,
                       int64_t first_sequence, StepReport& report) {
  report.step = step_number;
  context.store.zero_gradients();
  Step step{context,
            first_sequence,
            count_batch(batches, first_sequence, context.config, context.world),
            StepStatistics(context.config),
            report.time,
            recorder_of(context, step_number)};
  if (Interference::due(context.config, step_number) && context.store.trains_routers()) {
    step.interference.emplace(context.config.model);
  }
  Stopwatch watch;
  if (counts_beforehand(context.config, batches)) count_whole_step(step, batches);
  report.time.forward += watch.lap();
  for (const data::TokenBatch& batch : batches) run_micro_batch(step, batch);
  if (step.recorder != nullptr) step.recorder->write(step_number, context.store, context.world);
  sum_gradients(context.store, context.groups);
  report.grad_norm = gradient_norm(context.store, context.groups);
  watch.lap();
  step.statistics.reduce(context.world);
  step.statistics.fill(report, step.global);
  report.time.metrics += watch.lap();
  if (step.interference) step.interference->fill(report, context.store, context.groups);
}

}  // namespace dsmoe::train
