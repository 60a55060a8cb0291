#include "trainer/optimizer_state.h"

namespace dsmoe::train {
namespace {

/// What moments or masters hold of a tensor.
at::Tensor values_of(const nn::FlatPair& buffers, const nn::StoredTensor& t,
                     const nn::OwnedPiece& piece) {
  return buffers.of(t.group).narrow(0, piece.state, piece.end - piece.begin);
}

}  // namespace

bool writes_state(nn::ParameterGroup group, const Checkpointed& run) {
  const nn::StateSharing& sharing = run.store.sharing();
  if (sharing.of(group).size > 1) return true;
  const bool first_replica = run.topology.replica() == 0;
  return group == nn::ParameterGroup::kExpert ? first_replica : run.topology.data_rank() == 0;
}

std::vector<StateKind> state_kinds(const Checkpointed& run) {
  std::vector<StateKind> kinds{{kFirstMoment, &run.optimizer.first_moments()},
                               {kSecondMoment, &run.optimizer.second_moments()}};
  if (run.store.has_masters()) kinds.push_back({kMaster, &run.store.masters()});
  return kinds;
}

std::vector<StatePiece> owned_pieces(const Checkpointed& run, const std::string& prefix,
                                     const nn::FlatPair& buffers) {
  std::vector<StatePiece> pieces;
  for (const nn::StoredTensor& t : run.store.tensors()) {
    const auto piece = run.store.owned(t);
    if (!piece || !writes_state(t.group, run)) continue;
    at::Tensor values = values_of(buffers, t, *piece);
    if (values.numel() == t.numel) values = values.view(t.shape);
    pieces.push_back({prefix + t.name, values, piece->begin, t.numel});
  }
  return pieces;
}

void read_optimizer_state(const std::string& step_directory, const Checkpointed& run) {
  const auto files = OptimizerFiles::open(step_directory);
  for (const StateKind& kind : state_kinds(run)) {
    for (const nn::StoredTensor& t : run.store.tensors()) {
      const auto piece = run.store.owned(t);
      if (!piece) continue;
      values_of(*kind.buffers, t, *piece)
          .copy_(files.read_elements(kind.prefix + t.name, piece->begin, piece->end));
    }
  }
}

}  // namespace dsmoe::train
