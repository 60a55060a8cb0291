#include "trainer/shared_state.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "parallel/grad_sync.h"

namespace dsmoe::train {
namespace {

using nn::ParameterGroup;

constexpr std::array kGroups{ParameterGroup::kDense, ParameterGroup::kExpert};

/// Zeros with a block for each rank, as the gradients have.
at::Tensor blocks_like_gradients(nn::ParameterStore& store, ParameterGroup group,
                                 at::ScalarType dtype) {
  return at::zeros_like(store.gradients().of(group), dtype);
}

/// Where numbers begin .. end - 1 of what is trained lie in the weights: `visit` gets the weights
/// and their place behind `begin`, piece by piece.
void for_weights(nn::ParameterStore& store, ParameterGroup group, int64_t begin, int64_t end,
                 const std::function<void(const at::Tensor& weights, int64_t place)>& visit) {
  for (const nn::TrainedRun& run : store.runs()) {
    if (run.group != group) continue;
    const int64_t from = std::max(run.state, begin), to = std::min(run.state + run.numel, end);
    if (from >= to) continue;
    visit(store.weights().of(group).narrow(0, run.offset + from - run.state, to - from),
          from - begin);
  }
}

/// Numbers that all ranks together send at a time.
constexpr int64_t kGathered = int64_t{1} << 22;

/// In pieces of every rank's share, so that nothing large stands in memory twice.
void gather_weights_of(nn::ParameterStore& store, ParameterGroup group,
                       parallel::Communicator& ranks) {
  const parallel::Share share = store.share(group);
  const int64_t piece = std::max<int64_t>(1, kGathered / ranks.size());
  const auto options = store.weights().of(group).options();
  for (int64_t begin = 0; begin < share.longest; begin += piece) {
    const int64_t count = std::min(piece, share.longest - begin);
    const at::Tensor mine = at::zeros({count}, options);
    const int64_t first = ranks.rank() * share.longest + begin;
    for_weights(store, group, first, first + count, [&](const at::Tensor& weights, int64_t place) {
      mine.narrow(0, place, weights.numel()).copy_(weights);
    });
    at::Tensor all = at::empty({ranks.size() * count}, options);
    ranks.all_gather(all, mine);
    for (int64_t r = 0; r < ranks.size(); ++r) {
      const int64_t theirs = r * share.longest + begin;
      for_weights(store, group, theirs, theirs + count,
                  [&](const at::Tensor& weights, int64_t place) {
                    weights.copy_(all.narrow(0, r * count + place, weights.numel()));
                  });
    }
  }
}

double own_squares(nn::ParameterStore& store, ParameterGroup group) {
  const parallel::Share share = store.share(group);
  return parallel::sum_of_squares(store.gradients().of(group).narrow(0, share.begin, share.size()));
}

}  // namespace

parallel::Communicator& holders(ParameterGroup group, parallel::ProcessGroups& groups) {
  return *(group == ParameterGroup::kDense ? groups.data : groups.expert_replicas);
}

nn::StateSharing state_sharing(const config::RunConfig& config,
                               const parallel::Topology& topology) {
  if (config.parallel.zero == 0) return {};
  return {{topology.data_rank(), topology.data_size()}, {topology.replica(), topology.replicas()}};
}

void sum_gradients(nn::ParameterStore& store, parallel::ProcessGroups& groups) {
  nn::FlatPair& gradients = store.gradients();
  if (!store.sharing().any()) {
    return parallel::sum_gradients(gradients.dense, gradients.expert, *groups.data,
                                   *groups.expert_replicas);
  }
  for (const ParameterGroup group : kGroups) {
    parallel::sum_own_block(gradients.of(group), holders(group, groups));
  }
}

double gradient_norm(nn::ParameterStore& store, parallel::ProcessGroups& groups) {
  if (!store.sharing().any()) {
    const nn::FlatPair& gradients = store.gradients();
    return parallel::global_grad_norm(gradients.dense, gradients.expert, *groups.expert,
                                      *groups.forward);
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
  if (!store.sharing().any()) return here;
  at::Tensor whole = at::zeros_like(here);
  if (const auto piece = store.owned(tensor)) {
    const int64_t count = piece->end - piece->begin;
    whole.view({-1})
        .narrow(0, piece->begin, count)
        .copy_(here.view({-1}).narrow(0, piece->begin, count));
  }
  groups.data->all_reduce(whole, parallel::ReduceOp::kSum);
  return whole;
}

void gather_weights(nn::ParameterStore& store, parallel::ProcessGroups& groups) {
  for (const ParameterGroup group : kGroups) {
    if (store.sharing().of(group).size == 1) continue;
    gather_weights_of(store, group, holders(group, groups));
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
