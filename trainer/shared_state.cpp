#include "trainer/shared_state.h"

#include <array>
#include <cmath>

#include "parallel/grad_sync.h"

namespace dsmoe::train {
namespace {

using nn::ParameterGroup;

constexpr std::array kGroups{ParameterGroup::kDense, ParameterGroup::kExpert};

/// The ranks that hold the same parameters.
parallel::Communicator& holders(ParameterGroup group, parallel::ProcessGroups& groups) {
  return group == ParameterGroup::kDense ? groups.world : *groups.expert_replicas;
}

bool is_shared(const nn::ParameterStore& store) {
  return store.sharing().dense.size > 1 || store.sharing().expert.size > 1;
}

/// Everything that is trained lies in the weights as in the optimizer's state.
bool lies_alike(const nn::ParameterStore& store, ParameterGroup group) {
  for (const nn::StoredTensor& t : store.tensors()) {
    if (t.group == group && !t.trains()) return false;
  }
  return true;
}

/// Zeros with a block for each rank, as the gradients have.
at::Tensor blocks_like_gradients(nn::ParameterStore& store, ParameterGroup group,
                                 at::ScalarType dtype) {
  return at::zeros_like(store.gradients().of(group), dtype);
}

/// By way of a buffer that holds the trained weights alone.
void gather_trained(nn::ParameterStore& store, ParameterGroup group,
                    parallel::Communicator& ranks) {
  const at::Tensor& weights = store.weights().of(group);
  at::Tensor trained = blocks_like_gradients(store, group, weights.scalar_type());
  const auto of_group = [group](const nn::TrainedRun& run) { return run.group == group; };
  for (const nn::TrainedRun& run : store.owned_runs()) {
    if (!of_group(run)) continue;
    trained.narrow(0, store.share(group).begin + run.state, run.numel)
        .copy_(weights.narrow(0, run.offset, run.numel));
  }
  parallel::gather_blocks(trained, ranks);
  for (const nn::TrainedRun& run : store.runs()) {
    if (!of_group(run)) continue;
    weights.narrow(0, run.offset, run.numel).copy_(trained.narrow(0, run.state, run.numel));
  }
}

double own_squares(nn::ParameterStore& store, ParameterGroup group) {
  const parallel::Share share = store.share(group);
  return parallel::sum_of_squares(store.gradients().of(group).narrow(0, share.begin, share.size()));
}

}  // namespace

nn::StateSharing state_sharing(const config::RunConfig& config,
                               const parallel::Topology& topology) {
  if (config.parallel.zero == 0) return {};
  return {{topology.rank, topology.world}, {topology.replica(), topology.replicas()}};
}

void sum_gradients(nn::ParameterStore& store, parallel::ProcessGroups& groups) {
  nn::FlatPair& gradients = store.gradients();
  if (!is_shared(store)) {
    return parallel::sum_gradients(gradients.dense, gradients.expert, groups.world,
                                   *groups.expert_replicas);
  }
  for (const ParameterGroup group : kGroups) {
    parallel::sum_own_block(gradients.of(group), holders(group, groups));
  }
}

double gradient_norm(nn::ParameterStore& store, parallel::ProcessGroups& groups) {
  if (!is_shared(store)) {
    const nn::FlatPair& gradients = store.gradients();
    return parallel::global_grad_norm(gradients.dense, gradients.expert, *groups.expert);
  }
  // Each number is in the share of one rank of the world.
  const double own =
      own_squares(store, ParameterGroup::kDense) + own_squares(store, ParameterGroup::kExpert);
  at::Tensor squares = at::full({1}, own, at::kDouble);
  groups.world.all_reduce(squares, parallel::ReduceOp::kSum);
  return std::sqrt(squares.item<double>());
}

at::Tensor whole_gradient(nn::ParameterStore& store, parallel::ProcessGroups& groups,
                          const nn::StoredTensor& tensor) {
  const at::Tensor here = store.gradients().state_view(tensor).to(at::kDouble);
  if (!is_shared(store)) return here;
  at::Tensor whole = at::zeros_like(here);
  if (const auto piece = store.owned(tensor)) {
    const int64_t count = piece->end - piece->begin;
    whole.view({-1})
        .narrow(0, piece->begin, count)
        .copy_(here.view({-1}).narrow(0, piece->begin, count));
  }
  groups.world.all_reduce(whole, parallel::ReduceOp::kSum);
  return whole;
}

void gather_weights(nn::ParameterStore& store, parallel::ProcessGroups& groups) {
  for (const ParameterGroup group : kGroups) {
    if (store.sharing().of(group).size == 1) continue;
    if (lies_alike(store, group)) {
      parallel::gather_blocks(store.weights().of(group), holders(group, groups));
    } else {
      gather_trained(store, group, holders(group, groups));
    }
  }
}

nn::FlatPair whole_masters(nn::ParameterStore& store, parallel::ProcessGroups& groups) {
  if (!store.has_masters()) return {};
  nn::FlatPair whole;
  for (const ParameterGroup group : kGroups) {
    const at::Tensor& own = store.masters().of(group);
    whole.of(group) = blocks_like_gradients(store, group, own.scalar_type());
    whole.of(group).narrow(0, store.share(group).begin, own.numel()).copy_(own);
    if (store.sharing().of(group).size > 1) {
      parallel::gather_blocks(whole.of(group), holders(group, groups));
    }
  }
  return whole;
}

}  // namespace dsmoe::train
