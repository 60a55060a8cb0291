#pragma once

#include "configs/run_config.h"
#include "parallel/topology.h"
#include "trainer/held_weights.h"

namespace dsmoe::train {

/// Bytes of one kind that all ranks together send in a step.
struct LinkBytes {
  int64_t bytes = 0;
  double apart = 0;  ///< share that crosses nodes

  [[nodiscard]] double between_nodes() const { return static_cast<double>(bytes) * apart; }
  [[nodiscard]] double within_nodes() const { return static_cast<double>(bytes) * (1 - apart); }
};

/// What a step sends, but for counts, norms and statistics, some bytes each. Rings count as in
/// RecordingCommunicator.
struct PlannedTraffic {
  LinkBytes rows;           ///< hidden rows of dispatch and combine, forward and backward
  LinkBytes metadata;       ///< counts, addresses and gate weights beside them
  LinkBytes pipeline;       ///< hidden rows and their gradients between stages
  LinkBytes gradients;      ///< summed over ranks with equal parameters
  LinkBytes weights;        ///< of ZeRO-1, gathered after the update
  int64_t rows_bound = 0;   ///< rows if every token visits as many ranks as it may
  bool determined = false;  ///< rows and metadata too: experts are dealt out, none is dropped
};

/// What one rank puts on its links in a step, on average over all.
struct RankBytes {
  double within_nodes = 0;
  double between_nodes = 0;
};

/// Of all kinds together.
[[nodiscard]] RankBytes bytes_of_a_rank(const PlannedTraffic& traffic, int64_t ranks);

/// Of a full batch. Rows under the router's own choice are those expected of an even one, see
/// expected_traffic(). Local.
[[nodiscard]] PlannedTraffic plan_traffic(const config::RunConfig& config,
                                          const parallel::Topology& topology,
                                          const HeldWeights& weights, int64_t ranks_per_node);

}  // namespace dsmoe::train
