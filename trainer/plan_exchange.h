#pragma once

#include "configs/cluster_config.h"
#include "configs/run_config.h"
#include "parallel/topology.h"
#include "trainer/plan_groups.h"

namespace dsmoe::train {

/// Seconds of the collectives of a step, from bytes, bandwidth and latency.
class ExchangeTimes {
 public:
  /// All are borrowed.
  ExchangeTimes(const config::RunConfig& config, const config::ClusterConfig& cluster,
                const parallel::Topology& topology);

  /// A micro-batch's rows of one layer, in one direction; and what tells of them beforehand.
  [[nodiscard]] double rows() const;
  [[nodiscard]] double metadata() const;
  /// A micro-batch's hidden rows to the next stage.
  [[nodiscard]] double message() const;
  /// Rings over the groups: `bytes` are what each rank has in all.
  [[nodiscard]] double all_reduce(double bytes, const RankGroups& groups) const;
  [[nodiscard]] double reduce_scatter(double bytes, const RankGroups& groups) const;
  [[nodiscard]] double all_gather(double bytes, const RankGroups& groups) const;

 private:
  /// `bytes` that leave a rank for others of its expert group.
  [[nodiscard]] double all_to_all(double bytes) const;
  /// Bytes that cross a rank's link in a ring; `adds`: on the way.
  [[nodiscard]] double ring(double crossing, const RankGroups& groups, bool adds) const;

  const config::RunConfig& config_;
  const config::ClusterConfig& cluster_;
  const parallel::Topology& topology_;
  GroupPlacement experts_;
};

}  // namespace dsmoe::train
