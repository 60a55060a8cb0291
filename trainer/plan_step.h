#pragma once

#include "configs/cluster_config.h"
#include "parallel/pipeline_schedule.h"
#include "trainer/memory_estimate.h"
#include "trainer/plan_traffic.h"

namespace dsmoe::train {

/// Where a step's seconds go, on an average stage of the pipeline.
struct PlannedSeconds {
  double compute = 0;    ///< of all micro-batches
  double exchange = 0;   ///< dispatch and combine that nothing hides
  double bubble = 0;     ///< waiting for other stages
  double gradients = 0;  ///< summing them over ranks
  double optimizer = 0;  ///< clearing and measuring gradients, and the update
  double weights = 0;    ///< of ZeRO-1, gathered after the update

  [[nodiscard]] double total() const {
    return compute + exchange + bubble + gradients + optimizer + weights;
  }
};

/// What is to be expected of one layout.
struct StepPlan {
  config::RunConfig config;  ///< with stage_layers written out
  parallel::Topology topology;
  int64_t micro_batches = 0;
  MemoryEstimate memory;  ///< of the stage that needs most
  PlannedTraffic traffic;
  PlannedSeconds seconds;
  double bubble_share = 0;  ///< of the pipeline's time, a stage's mean wait
  double tokens_per_second = 0;
  double mfu = 0;  ///< operations of the model, attention over the causal half, by the peak
  double hours_per_trillion_tokens = 0;  ///< of all ranks together
};

/// Plans layouts of one model on one cluster. docs/planner.md states the model.
class Planner {
 public:
  /// What layouts have in common is counted once. Throws ConfigError where the cluster has no peak
  /// of the precision. Both are borrowed.
  Planner(const config::RunConfig& config, const config::ClusterConfig& cluster);

  /// `config` differs from the planner's in parallel, batch and run.recompute at most. Throws
  /// ConfigError, as a run would, where the layout does not fit the cluster's ranks.
  [[nodiscard]] StepPlan plan(config::RunConfig config) const;
  /// Memory alone, of a layout that fits.
  [[nodiscard]] MemoryEstimate memory(const config::RunConfig& config) const;
  /// The same configuration with the slices of its layers listed. Throws as plan().
  [[nodiscard]] config::RunConfig checked(config::RunConfig config) const;

  [[nodiscard]] const config::ClusterConfig& cluster() const { return cluster_; }

 private:
  const config::ClusterConfig& cluster_;
  HeldWeights weights_;
  double flops_per_token_;
};

}  // namespace dsmoe::train
