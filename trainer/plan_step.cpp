#include "trainer/plan_step.h"

#include <algorithm>
#include <cmath>

#include "configs/errors.h"
#include "configs/validate.h"
#include "configs/yaml_writer.h"
#include "modules/layer_slices.h"
#include "modules/model_census.h"
#include "trainer/micro_batches.h"
#include "trainer/plan_exchange.h"
#include "trainer/plan_pipeline.h"
#include "trainer/plan_roof.h"
#include "trainer/plan_stage.h"
#include "trainer/shared_state.h"

namespace dsmoe::train {
namespace {

double real(int64_t value) { return static_cast<double>(value); }

/// Bytes of an update: gradients read, moments and masters read and written, and the copy in the
/// type of the computation.
double update_bytes(const NumberWidths& widths) {
  return real(7 * widths.master + (widths.master == widths.compute ? 0 : widths.compute));
}

int64_t owned_by(const HeldCount& held, const nn::StateSharing& sharing) {
  return parallel::share_of(held.dense, sharing.dense).longest +
         parallel::share_of(held.expert, sharing.expert).longest;
}

/// Of sums that begin while the last micro-batch's backward pass goes on, what is left behind it:
/// no less than the last bucket, which is at least a layer.
double left_of_sums(double seconds, int64_t bytes, const PassTimes& micro_batch,
                    const config::RunConfig& config, const config::ClusterConfig& cluster) {
  if (!config.parallel.overlap || bytes == 0) return seconds;
  const double layers = real(config.model.num_hidden_layers) / real(config.parallel.pipeline);
  const double buckets =
      std::min(std::ceil(real(bytes) / (config.parallel.bucket_mib * (1 << 20))), layers);
  const double beside = cluster.compute.overlap * micro_batch.computed_backward();
  return std::max(seconds - beside, seconds / buckets);
}

/// What comes behind the micro-batches, on one stage.
void add_update(PlannedSeconds& seconds, const config::RunConfig& config, const HeldCount& held,
                const PassTimes& micro_batch, const config::ClusterConfig& cluster,
                const parallel::Topology& topology) {
  const ExchangeTimes exchange(config, cluster, topology);
  const Roof roof(cluster, config.run.precision);
  const NumberWidths widths = widths_of(config.run.precision);
  const bool shared = config.parallel.zero == 1;
  const auto sum = [&](int64_t count, const RankGroups& groups) {
    const double bytes = real(count * widths.master);
    return shared ? exchange.reduce_scatter(bytes, groups) : exchange.all_reduce(bytes, groups);
  };
  const auto gather = [&](int64_t count, const RankGroups& groups) {
    return shared ? exchange.all_gather(real(count * widths.compute), groups) : 0;
  };
  const RankGroups data = data_groups(topology), replicas = replica_groups(topology);
  const int64_t owned = owned_by(held, state_sharing(config, topology));
  PlannedSeconds stage;
  stage.gradients =
      left_of_sums(sum(held.dense, data) + sum(held.expert, replicas),
                   (held.dense + held.expert) * widths.master, micro_batch, config, cluster);
  stage.weights = gather(held.dense, data) + gather(held.expert, replicas);
  // Gradients are cleared whole; their squares are summed by whoever owns them.
  stage.optimizer =
      roof.seconds_of_bytes(real((held.dense + held.expert) * widths.master) +
                            real(owned) * real(widths.master) + real(owned) * update_bytes(widths));
  seconds.gradients = std::max(seconds.gradients, stage.gradients);
  seconds.weights = std::max(seconds.weights, stage.weights);
  seconds.optimizer = std::max(seconds.optimizer, stage.optimizer);
}

/// The micro-batches of a step.
void plan_pipeline(StepPlan& plan, const config::ClusterConfig& cluster) {
  const config::RunConfig& config = plan.config;
  const StageTimes times(config, cluster, plan.topology);
  PlannedPipeline pipeline{config.parallel.schedule,
                           config.parallel.chunks,
                           plan.micro_batches,
                           {},
                           ExchangeTimes(config, cluster, plan.topology).message(),
                           cluster.compute.ranks_per_core,
                           config.parallel.put_off};
  double exchange = 0;
  for (int64_t stage = 0; stage < plan.topology.stages; ++stage) {
    const PassTimes one = times.of(nn::slices_of_stage(config, stage));
    pipeline.costs.push_back(one.costs);
    exchange += one.exchange;
  }
  const PipelineTime time = pipeline_time(pipeline);
  plan.seconds.exchange = exchange * real(plan.micro_batches) / real(plan.topology.stages);
  plan.seconds.compute = time.busy - plan.seconds.exchange;
  plan.seconds.bubble = time.length - time.busy;
  plan.bubble_share = 1 - time.busy / time.length;
}

void plan_update(StepPlan& plan, const HeldWeights& weights, const config::ClusterConfig& cluster) {
  const StageTimes times(plan.config, cluster, plan.topology);
  for (int64_t stage = 0; stage < plan.topology.stages; ++stage) {
    const auto slices = nn::slices_of_stage(plan.config, stage);
    const HeldCount held = weights.of(slices, plan.topology.expert_size);
    add_update(plan.seconds, plan.config, held, times.of(slices), cluster, plan.topology);
  }
}

parallel::Topology topology_of(const config::RunConfig& config,
                               const config::ClusterConfig& cluster) {
  return parallel::make_topology(cluster.ranks(), 0, config.parallel.expert,
                                 config.parallel.pipeline, config.parallel.ranks_per_node);
}

/// A pipeline's slices once and for all: finding them is costly.
void list_slices(config::RunConfig& config) {
  if (config.parallel.pipeline == 1 || !config.parallel.stage_layers.empty()) return;
  for (const nn::LayerSlice& slice : nn::pipeline_slices(config)) {
    config.parallel.stage_layers.push_back(slice.end - slice.begin);
  }
}

void check_fits(const config::RunConfig& config, const config::ClusterConfig& cluster) {
  config::check_config(config);
  config::check_layout(config, cluster.ranks());
  const int64_t data = cluster.ranks() / config.parallel.pipeline;
  if (config.batch.sequences >= data * config.batch.micro_sequences) return;
  throw ConfigError("batch.sequences (" + std::to_string(config.batch.sequences) +
                    ") is less than one micro-batch of batch.micro_sequences (" +
                    std::to_string(config.batch.micro_sequences) + ") for each of " +
                    std::to_string(data) + " ranks of a stage\nhint: ranks would stand idle");
}

}  // namespace

Planner::Planner(const config::RunConfig& config, const config::ClusterConfig& cluster)
    : cluster_(cluster),
      weights_(config),
      flops_per_token_(nn::count_flops(config.model, config.data.sequence_length).training) {
  if (cluster.compute.peak(config.run.precision) > 0) return;
  throw ConfigError(
      "run.precision: the cluster's compute has a peak of 0 FLOP/s in it\nhint: choose another "
      "precision, such as run.precision=bf16, or fill in the cluster's file");
}

config::RunConfig Planner::checked(config::RunConfig config) const {
  check_fits(config, cluster_);
  list_slices(config);
  return config;
}

MemoryEstimate Planner::memory(const config::RunConfig& config) const {
  return estimate_largest_memory(config, topology_of(config, cluster_), weights_);
}

StepPlan Planner::plan(config::RunConfig wanted) const {
  StepPlan plan;
  plan.config = checked(std::move(wanted));
  const config::RunConfig& config = plan.config;
  plan.topology = topology_of(config, cluster_);
  plan.memory = memory(config);
  plan.traffic = plan_traffic(config, plan.topology, weights_, cluster_.ranks_per_node);
  plan.micro_batches =
      num_micro_batches(cut_batch(config, 0, config.batch.sequences), plan.topology);
  plan_pipeline(plan, cluster_);
  plan_update(plan, weights_, cluster_);
  const double tokens = real(config.batch.sequences) * real(config.data.sequence_length);
  plan.tokens_per_second = tokens / plan.seconds.total();
  plan.mfu = plan.tokens_per_second * flops_per_token_ /
             (real(cluster_.ranks()) * cluster_.compute.peak(config.run.precision));
  plan.hours_per_trillion_tokens = 1e12 / plan.tokens_per_second / 3600 * real(cluster_.ranks());
  return plan;
}

}  // namespace dsmoe::train
