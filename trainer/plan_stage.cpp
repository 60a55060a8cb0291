#include "trainer/plan_stage.h"

#include <algorithm>

#include "modules/recompute.h"
#include "trainer/plan_exchange.h"
#include "trainer/plan_roof.h"
#include "trainer/plan_work.h"

namespace dsmoe::train {
namespace {

PassTimes times_of(const PassWork& work, const Roof& roof) {
  return {{roof.seconds(work.forward), roof.seconds(work.input_gradient),
           roof.seconds(work.weight_gradient)}};
}

/// What of an exchange is left when `hidden_by` is computed beside it.
double exposed(double exchange, double hidden_by, const config::ClusterConfig& cluster) {
  return exchange - std::min(exchange, cluster.compute.overlap * hidden_by);
}

PassTimes layer_times(const config::RunConfig& config, const config::ClusterConfig& cluster,
                      const parallel::Topology& topology, bool moe) {
  const Roof roof(cluster, config.run.precision);
  const LayerWork work = layer_work(config, topology, moe);
  PassTimes times = times_of(work.attention, roof);
  times += times_of(work.router, roof);
  const PassTimes beside = times_of(work.beside, roof);
  times += beside;
  times += times_of(work.experts, roof);
  if (!moe || topology.expert_size == 1) return times;
  const ExchangeTimes exchange(config, cluster, topology);
  const bool again = nn::recompute_of(config.run.recompute).dispatches_again();
  const HopTimes rows = exchange.rows();
  const auto beside_shared = [&](double computed) {
    return exposed(rows.first, config.parallel.overlap ? computed : 0, cluster) + rows.second;
  };
  const double forward = exchange.metadata() + beside_shared(beside.costs.forward) + rows.both();
  const double replayed = again ? beside.costs.forward : 0;
  const double backward = rows.both() + beside_shared(beside.costs.input_gradient - replayed) +
                          (again ? beside_shared(replayed) : 0);
  times.costs.forward += forward;
  times.costs.input_gradient += backward;
  times.exchange = forward + backward;
  times.backward_exchange = backward;
  return times;
}

}  // namespace

PassTimes& PassTimes::operator+=(const PassTimes& other) {
  costs.forward += other.costs.forward;
  costs.input_gradient += other.costs.input_gradient;
  costs.weight_gradient += other.costs.weight_gradient;
  exchange += other.exchange;
  backward_exchange += other.backward_exchange;
  return *this;
}

double PassTimes::computed_backward() const {
  return costs.input_gradient + costs.weight_gradient - backward_exchange;
}

StageTimes::StageTimes(const config::RunConfig& config, const config::ClusterConfig& cluster,
                       const parallel::Topology& topology)
    : model_(config.model),
      stragglers_(topology.world > 1 ? cluster.compute.stragglers : 1),
      dense_(layer_times(config, cluster, topology, /*moe=*/false)),
      moe_(config.model.num_moe_layers() > 0 ? layer_times(config, cluster, topology, /*moe=*/true)
                                             : PassTimes{}),
      head_(times_of(head_work(config), Roof(cluster, config.run.precision))),
      embedding_(times_of(embedding_work(config), Roof(cluster, config.run.precision))) {}

/// What ranks wait for the slowest of them counts as exchange.
PassTimes PassTimes::with_stragglers(double factor) const {
  PassTimes times = *this;
  times.exchange += (factor - 1) * costs.all();
  times.backward_exchange += (factor - 1) * (costs.input_gradient + costs.weight_gradient);
  times.costs.forward *= factor;
  times.costs.input_gradient *= factor;
  times.costs.weight_gradient *= factor;
  return times;
}

PassTimes StageTimes::of(const std::vector<nn::LayerSlice>& slices) const {
  PassTimes times;
  for (const nn::LayerSlice& slice : slices) {
    for (int64_t i = slice.begin; i < slice.end; ++i)
      times += model_.is_moe_layer(i) ? moe_ : dense_;
  }
  if (slices.front().first()) times += embedding_;
  if (slices.back().last(model_)) times += head_;
  return times.with_stragglers(stragglers_);
}

}  // namespace dsmoe::train
