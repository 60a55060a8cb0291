#pragma once

#include "configs/cluster_config.h"
#include "configs/run_config.h"
#include "parallel/topology.h"
#include "trainer/plan_groups.h"
#include "trainer/plan_hops.h"

namespace dsmoe::train {

/// A dispatch's seconds: of its first exchange, beside which others may compute, and of a second.
struct HopTimes {
  double first = 0;
  double second = 0;

  [[nodiscard]] double both() const { return first + second; }
};

/// Seconds of the collectives of a step, from bytes, bandwidth and latency.
class ExchangeTimes {
 public:
  /// All are borrowed.
  ExchangeTimes(const config::RunConfig& config, const config::ClusterConfig& cluster,
                const parallel::Topology& topology);

  /// A micro-batch's rows of one layer, in one direction, hop by hop; and what tells of them
  /// beforehand.
  [[nodiscard]] HopTimes rows() const;
  [[nodiscard]] double metadata() const;
  /// A micro-batch's hidden rows to the next stage.
  [[nodiscard]] double message() const;
  /// Rings over the groups: `bytes` are what each rank has in all.
  [[nodiscard]] double all_reduce(double bytes, const RankGroups& groups) const;
  [[nodiscard]] double reduce_scatter(double bytes, const RankGroups& groups) const;
  [[nodiscard]] double all_gather(double bytes, const RankGroups& groups) const;

 private:
  /// `bytes` that leave a rank for others of its group.
  [[nodiscard]] double all_to_all(double bytes, const RankGroups& groups) const;
  /// Bytes that cross a rank's link in a ring; `adds`: on the way.
  [[nodiscard]] double ring(double crossing, const RankGroups& groups, bool adds) const;

  const config::RunConfig& config_;
  const config::ClusterConfig& cluster_;
  const parallel::Topology& topology_;
  std::vector<DispatchHop> hops_;
};

}  // namespace dsmoe::train
