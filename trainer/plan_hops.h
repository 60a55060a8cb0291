#pragma once

#include <vector>

#include "configs/run_config.h"
#include "parallel/topology.h"
#include "trainer/plan_groups.h"

namespace dsmoe::train {

/// One exchange of a dispatch; combine is the same backwards.
struct DispatchHop {
  RankGroups groups;             ///< whose members exchange
  int64_t ranks_per_target = 1;  ///< 1: a row goes to each rank once; more: to each node once

  /// Whom a token with an expert on rank `to` of the expert group is brought to.
  [[nodiscard]] int64_t target(int64_t to) const { return to / ranks_per_target; }
  /// Whether such a token, on rank `from`, goes to another rank.
  [[nodiscard]] bool leaves(int64_t from, int64_t to) const { return place(from) != place(to); }

 private:
  [[nodiscard]] int64_t place(int64_t rank) const { return rank / groups.stride % groups.size; }
};

/// One, among all ranks of an expert group; with parallel.ranks_per_node, where experts span nodes,
/// two: among ranks of equal place in their nodes, then within each node. See
/// parallel::ExpertRoute.
[[nodiscard]] std::vector<DispatchHop> dispatch_hops(const parallel::Topology& topology);

/// Of a token in one direction of a layer.
struct HopTraffic {
  double visits = 0;  ///< ranks or nodes that it is brought to, its own counted
  double rows = 0;    ///< of these, others than its own
  double pairs = 0;   ///< chosen experts that it goes to another rank for
};

/// Were its experts drawn evenly under the group limit; see expected_ranks().
[[nodiscard]] HopTraffic expected_traffic(const config::ModelConfig& model,
                                          const parallel::Topology& topology,
                                          const DispatchHop& hop);

/// Ranks that one token visits, its own counted: P(visited) of a rank is, over the number j of its
/// groups among the M chosen of D, the mean of 1 - C(n - h, K) / C(n, K) with n experts in the
/// chosen groups and h of them on the rank.
[[nodiscard]] double expected_ranks(const config::ModelConfig& model, int64_t expert_size);

}  // namespace dsmoe::train
