#include "trainer/counting_stage.h"

#include "trainer/loss_units.h"
#include "trainer/sequence_info.h"

namespace dsmoe::train {
namespace {

class CountingStage final : public parallel::ForwardStage {
 public:
  explicit CountingStage(StepWork& step) : step_(step) {}

  [[nodiscard]] at::Tensor make_message(int64_t micro_batch) override {
    return hidden_rows_like(step_.context.model, step_.batch(micro_batch));
  }

  at::Tensor forward(int64_t micro_batch, int64_t slice, const at::Tensor& input) override {
    const data::TokenBatch& batch = step_.batch(micro_batch);
    const config::RunConfig& config = step_.context.config;
    const nn::ModelOutput output = run_slice(step_, micro_batch, slice, input,
                                             sequence_info(batch, step_.first_sequence, config));
    const auto units =
        loss_units(batch, step_.first_sequence, config, *step_.context.groups.expert);
    add_counts(step_.whole[static_cast<size_t>(slice)], count_layers(output, units, config));
    step_.statistics.add_counting_pass(output);
    return output.hidden_NM;
  }

 private:
  StepWork& step_;
};

}  // namespace

void count_whole_step(StepWork& step) {
  const at::NoGradGuard no_grad;
  const int64_t bytes_before = expert_group_bytes(step.context);
  const size_t slices = step.context.model->slices().size();
  step.whole.resize(slices);
  CountingStage stage(step);
  parallel::run_forward_passes(stage, static_cast<int64_t>(step.batches.size()),
                               static_cast<int64_t>(slices), *step.context.groups.forward);
  for (LayerCounts& counts : step.whole) reduce_counts(counts, *step.context.groups.data);
  step.statistics.add_measured(expert_group_bytes(step.context) - bytes_before, 0);
}

}  // namespace dsmoe::train
