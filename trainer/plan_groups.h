#pragma once

#include <cstdint>

#include "parallel/topology.h"

namespace dsmoe::train {

/// Groups of ranks r, r + stride, ... of equal size, that together are all ranks of a world laid
/// out in nodes of consecutive ranks.
struct RankGroups {
  int64_t size = 1;
  int64_t stride = 1;
};

[[nodiscard]] RankGroups replica_groups(const parallel::Topology& topology);
[[nodiscard]] RankGroups data_groups(const parallel::Topology& topology);

/// How a group's messages meet the nodes.
struct GroupPlacement {
  double pairs_apart = 0;      ///< of ordered pairs of members, those on different nodes
  double most_apart = 0;       ///< of a rank's peers, those on other nodes: the worst rank's share
  double ring_apart = 0;       ///< of a ring's edges, those that cross nodes
  double fewest_together = 1;  ///< members of a group on one node, where the group spans nodes
};

/// Over all groups of `world` ranks. Local.
[[nodiscard]] GroupPlacement place_groups(const RankGroups& groups, int64_t world,
                                          int64_t ranks_per_node);

/// Share of neighbouring stages' messages that cross nodes: ranks r and r + distance.
[[nodiscard]] double neighbours_apart(int64_t distance, int64_t world, int64_t ranks_per_node);

}  // namespace dsmoe::train
