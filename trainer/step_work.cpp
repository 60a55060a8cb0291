#include "trainer/step_work.h"

namespace dsmoe::train {
namespace {

/// Of this rank, since the log was reset.
int64_t sent_bytes(const parallel::TrafficLog& log, const char* group, const char* operation) {
  const auto counts = log.find(group);
  if (counts == log.end()) return 0;
  const auto count = counts->second.find(operation);
  return count == counts->second.end() ? 0 : count->second.bytes;
}

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
  const parallel::TrafficLog& log = context.world.log();
  return sent_bytes(log, "ep", "all_to_all") + sent_bytes(log, "ep", "all_gather") +
         sent_bytes(log, "ep_across", "all_to_all") + sent_bytes(log, "ep_within", "all_to_all");
}

NodeBytes node_bytes(const TrainContext& context) {
  const parallel::Topology& topology = context.topology;
  const parallel::TrafficLog& log = context.world.log();
  const int64_t direct = sent_bytes(log, "ep", "all_to_all");
  const bool together = topology.ranks_per_node >= topology.expert_size;
  return {sent_bytes(log, "ep_across", "all_to_all") + (together ? 0 : direct),
          sent_bytes(log, "ep_within", "all_to_all") + (together ? direct : 0)};
}

}  // namespace dsmoe::train
