#include "trainer/plan_groups.h"

#include <algorithm>

namespace dsmoe::train {
namespace {

/// The first member of a rank's group, and the rank's place in it.
struct Membership {
  int64_t first;
  int64_t place;
};

Membership member(int64_t rank, const RankGroups& groups) {
  const int64_t block = groups.size * groups.stride;
  const int64_t within = rank % block;
  return {rank - within + within % groups.stride, within / groups.stride};
}

/// Members of first, first + stride, ... on the node that holds `rank`.
int64_t members_on_node(int64_t rank, int64_t first, const RankGroups& groups,
                        int64_t ranks_per_node) {
  const int64_t begin = rank / ranks_per_node * ranks_per_node, end = begin + ranks_per_node;
  const auto before = [&](int64_t limit) {
    const int64_t count = (limit - first + groups.stride - 1) / groups.stride;
    return std::clamp<int64_t>(limit <= first ? 0 : count, 0, groups.size);
  };
  return before(end) - before(begin);
}

}  // namespace

RankGroups replica_groups(const parallel::Topology& topology) {
  return {topology.replicas(), topology.expert_size};
}

RankGroups data_groups(const parallel::Topology& topology) { return {topology.data_size(), 1}; }

GroupPlacement place_groups(const RankGroups& groups, int64_t world, int64_t ranks_per_node) {
  GroupPlacement placement;
  if (groups.size == 1) return placement;
  const auto peers = static_cast<double>(groups.size - 1), ranks = static_cast<double>(world);
  placement.fewest_together = static_cast<double>(groups.size);
  for (int64_t rank = 0; rank < world; ++rank) {
    const Membership own = member(rank, groups);
    const int64_t together = members_on_node(rank, own.first, groups, ranks_per_node);
    const double apart = static_cast<double>(groups.size - together) / peers;
    placement.pairs_apart += apart / ranks;
    placement.most_apart = std::max(placement.most_apart, apart);
    placement.fewest_together = std::min(placement.fewest_together, static_cast<double>(together));
    const int64_t next = own.first + (own.place + 1) % groups.size * groups.stride;
    if (next / ranks_per_node != rank / ranks_per_node) placement.ring_apart += 1 / ranks;
  }
  return placement;
}

double neighbours_apart(int64_t distance, int64_t world, int64_t ranks_per_node) {
  int64_t apart = 0;
  for (int64_t rank = 0; rank + distance < world; ++rank) {
    if (rank / ranks_per_node != (rank + distance) / ranks_per_node) ++apart;
  }
  return world > distance ? static_cast<double>(apart) / static_cast<double>(world - distance) : 0;
}

}  // namespace dsmoe::train
