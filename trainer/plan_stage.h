#pragma once

#include <vector>

#include "configs/cluster_config.h"
#include "configs/run_config.h"
#include "modules/layer_slices.h"
#include "parallel/pipeline_schedule.h"
#include "parallel/topology.h"

namespace dsmoe::train {

/// Seconds of a micro-batch on one rank, by pass. Of all three, what dispatch and combine take that
/// nothing hides: `exchange`, of it behind the forward pass `backward_exchange`.
struct PassTimes {
  parallel::PassCosts costs{0, 0, 0};
  double exchange = 0;
  double backward_exchange = 0;

  /// Of the backward pass, what is computed: the link is free meanwhile.
  [[nodiscard]] double computed_backward() const;

  PassTimes& operator+=(const PassTimes& other);
  /// All passes that many times as long.
  [[nodiscard]] PassTimes with_stragglers(double factor) const;
};

/// Times of the model's parts on one layout, then of any stage.
class StageTimes {
 public:
  StageTimes(const config::RunConfig& config, const config::ClusterConfig& cluster,
             const parallel::Topology& topology);

  [[nodiscard]] PassTimes of(const std::vector<nn::LayerSlice>& slices) const;

 private:
  config::ModelConfig model_;
  double stragglers_;
  PassTimes dense_;
  PassTimes moe_;
  PassTimes head_;
  PassTimes embedding_;
};

}  // namespace dsmoe::train
