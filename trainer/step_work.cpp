#include "trainer/step_work.h"

namespace dsmoe::train {
namespace {

/// Bytes that the drop decisions of one forward pass through a slice gather.
int64_t gathered_bytes(const TrainContext& context, size_t layers, const data::TokenBatch& batch) {
  return static_cast<int64_t>(layers) *
         context.model->dropper().gathered_bytes(batch.inputs_BT.size(1));
}

}  // namespace

nn::ModelOutput run_slice(StepWork& step, int64_t micro_batch, int64_t slice,
                          const at::Tensor& input, const nn::SequenceInfo& sequences) {
  const data::TokenBatch& batch = step.batch(micro_batch);
  const nn::ModelOutput output = step.context.model->run_slice(
      static_cast<size_t>(slice), input.defined() ? input : batch.inputs_BT, sequences,
      /*dropping=*/true);
  step.statistics.add_gathered(gathered_bytes(step.context, output.routing.size(), batch));
  return output;
}

at::Tensor hidden_rows_like(const nn::Model& model, const data::TokenBatch& batch) {
  return at::empty({batch.inputs_BT.numel(), model->config().hidden_size},
                   at::TensorOptions(model->dtype()).device(model->device()));
}

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

}  // namespace dsmoe::train
