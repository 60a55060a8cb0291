#include "trainer/training_stage.h"

#include <torch/csrc/autograd/autograd.h>

#include "trainer/loss_units.h"
#include "trainer/objective.h"
#include "trainer/sequence_info.h"
#include "trainer/stopwatch.h"

namespace dsmoe::train {
namespace {

/// The counts of whole units: those here, and what other ranks have of the same units.
LayerCounts counts_of_units(const StepWork& step, int64_t slice, const nn::ModelOutput& output,
                            const nn::LossUnits& units) {
  if (!step.whole.empty()) return step.whole[static_cast<size_t>(slice)];
  TrainContext& context = step.context;
  const config::RunConfig& config = context.config;
  LayerCounts counts = count_layers(output, units, config);
  if (config.balance.scope == config::BalanceScope::kGlobalBatch) {
    reduce_counts(counts, *context.groups.data);
  } else if (config.balance.scope == config::BalanceScope::kPool &&
             config.batch.pools_span(context.groups.expert->size())) {
    reduce_counts(counts, *context.groups.expert);
  }
  return counts;
}

Objective objective_of(StepWork& step, int64_t slice, const nn::ModelOutput& output,
                       const data::TokenBatch& batch) {
  TrainContext& context = step.context;
  const nn::LossUnits units =
      loss_units(batch, step.first_sequence, context.config, *context.groups.expert);
  Objective objective = balance_objective(
      output, units, counts_of_units(step, slice, output, units), context.config, step.global);
  if (step.last(slice)) add_language_loss(objective, context.model, output, batch, step.global);
  return objective;
}

}  // namespace

TrainingStage::TrainingStage(StepWork& step)
    : passes_left_(step.context.model->slices().size(), step.batches.size()), step_(step) {}

void TrainingStage::pass_ended(int64_t slice) {
  if (--passes_left_[static_cast<size_t>(slice)] == 0) step_.sums.end_last_pass(slice);
}

at::Tensor TrainingStage::make_message(int64_t micro_batch) {
  return hidden_rows_like(step_.context.model, step_.batch(micro_batch));
}

at::Tensor TrainingStage::forward(int64_t micro_batch, int64_t slice, const at::Tensor& input) {
  Stopwatch watch;
  const data::TokenBatch& batch = step_.batch(micro_batch);
  const int64_t bytes_before = expert_group_bytes(step_.context);
  if (input.defined()) at::Tensor(input).set_requires_grad(true);
  nn::SequenceInfo sequences = sequence_info(batch, step_.first_sequence, step_.context.config);
  sequences.router_input = step_.interference.has_value();
  const nn::ModelOutput output = run_slice(step_, micro_batch, slice, input, sequences);
  const Objective objective = objective_of(step_, slice, output, batch);
  step_.time.forward += watch.lap();
  if (step_.interference) step_.interference->add(output, objective.balance_terms);
  step_.statistics.add_measured(expert_group_bytes(step_.context) - bytes_before, 0);
  step_.statistics.add(output, objective, batch);
  if (step_.last(slice)) step_.statistics.add_tokens(sequences, batch);
  if (step_.recorder != nullptr) step_.recorder->add(output, batch);
  step_.time.metrics += watch.lap();
  passages_[{micro_batch, slice}] = {input, step_.last(slice) ? at::Tensor() : output.hidden_NM,
                                     objective.total};
  return output.hidden_NM.detach();
}

at::Tensor TrainingStage::backward(int64_t micro_batch, int64_t slice, const at::Tensor& gradient,
                                   bool defer) {
  Stopwatch watch;
  const int64_t bytes_before = expert_group_bytes(step_.context);
  Passage& passage = passages_.at({micro_batch, slice});
  torch::autograd::variable_list roots, gradients;
  if (passage.loss.requires_grad()) {
    roots.push_back(passage.loss);
    gradients.emplace_back();
  }
  if (passage.hidden.defined() && passage.hidden.requires_grad()) {
    roots.push_back(passage.hidden);
    gradients.push_back(gradient);
  }
  if (!defer && passes_left_[static_cast<size_t>(slice)] == 1) step_.sums.begin_last_pass(slice);
  if (!roots.empty()) {
    const auto put_off = defer ? std::make_unique<nn::DeferScope>(passage.deferred) : nullptr;
    torch::autograd::backward(roots, gradients);
  }
  at::Tensor input_gradient;
  if (passage.input.defined()) {
    input_gradient = passage.input.grad();
    if (!input_gradient.defined()) input_gradient = at::zeros_like(passage.input);
  }
  step_.time.backward += watch.lap();
  step_.statistics.add_measured(0, expert_group_bytes(step_.context) - bytes_before);
  if (!defer) {
    passages_.erase({micro_batch, slice});
    pass_ended(slice);
  }
  // Of what the backward pass has run through nothing is needed any more.
  if (defer) passage.input = passage.hidden = passage.loss = at::Tensor();
  return input_gradient;
}

void TrainingStage::weight_gradient(int64_t micro_batch, int64_t slice) {
  Stopwatch watch;
  if (passes_left_[static_cast<size_t>(slice)] == 1) step_.sums.begin_last_pass(slice);
  passages_.at({micro_batch, slice}).deferred.run();
  passages_.erase({micro_batch, slice});
  step_.time.backward += watch.lap();
  pass_ended(slice);
}

}  // namespace dsmoe::train
