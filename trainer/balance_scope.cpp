#include "trainer/balance_scope.h"

namespace dsmoe::train {
namespace {

/// The tensors of all layers, in a fixed order.
std::vector<at::Tensor> tensors_of(const LayerCounts& counts) {
  std::vector<at::Tensor> tensors;
  for (const nn::BalanceCounts& layer : counts) {
    tensors.insert(tensors.end(), {layer.tokens_U, layer.pairs_UE, layer.visits_UD});
    if (layer.unbiased_pairs_UE.defined()) tensors.push_back(layer.unbiased_pairs_UE);
  }
  return tensors;
}

}  // namespace

LayerCounts count_layers(const nn::ModelOutput& output, const nn::LossUnits& units,
                         const config::RunConfig& config) {
  LayerCounts counts;
  for (const nn::RoutingRecord& record : output.routing) {
    counts.push_back(nn::count_routing(record, units, config.balance, config.model));
  }
  return counts;
}

void add_counts(LayerCounts& sum, const LayerCounts& more) {
  if (sum.empty()) {
    sum = more;
    return;
  }
  const auto into = tensors_of(sum);
  const auto from = tensors_of(more);
  for (size_t i = 0; i < into.size(); ++i) at::Tensor(into[i]).add_(from[i]);
}

void reduce_counts(LayerCounts& counts, parallel::Communicator& group) {
  if (group.size() == 1 || counts.empty()) return;
  const auto tensors = tensors_of(counts);
  std::vector<at::Tensor> flat;
  for (const at::Tensor& tensor : tensors) flat.push_back(tensor.flatten());
  at::Tensor all = at::cat(flat);
  group.all_reduce(all, parallel::ReduceOp::kSum);
  int64_t at = 0;
  for (const at::Tensor& tensor : tensors) {
    tensor.copy_(all.narrow(0, at, tensor.numel()).view(tensor.sizes()));
    at += tensor.numel();
  }
}

}  // namespace dsmoe::train
