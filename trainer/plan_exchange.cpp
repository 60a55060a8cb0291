#include "trainer/plan_exchange.h"

#include <algorithm>
#include <cmath>

#include "trainer/memory_estimate.h"

namespace dsmoe::train {
namespace {

double bandwidth(const config::LinkSpeed& link, bool adds) {
  return adds && link.reduce_bandwidth > 0 ? link.reduce_bandwidth : link.bandwidth;
}

/// Rounds of messages until all ranks of a group have heard of all.
double rounds(int64_t ranks) { return std::ceil(std::log2(static_cast<double>(ranks))); }

double tokens_of(const config::RunConfig& config) {
  return static_cast<double>(config.batch.micro_sequences * config.data.sequence_length);
}

double row_bytes(const config::RunConfig& config) {
  return static_cast<double>(config.model.hidden_size * widths_of(config.run.precision).compute);
}

}  // namespace

ExchangeTimes::ExchangeTimes(const config::RunConfig& config, const config::ClusterConfig& cluster,
                             const parallel::Topology& topology)
    : config_(config), cluster_(cluster), topology_(topology), hops_(dispatch_hops(topology)) {}

double ExchangeTimes::all_to_all(double bytes, const RankGroups& groups) const {
  if (groups.size == 1) return 0;
  const double apart = place_groups(groups, topology_.world, cluster_.ranks_per_node).most_apart;
  const double between = apart > 0 ? bytes * apart / cluster_.inter_node.bandwidth : 0;
  const double within = apart < 1 ? bytes * (1 - apart) / cluster_.intra_node.bandwidth : 0;
  const config::LinkSpeed& slower = apart > 0 ? cluster_.inter_node : cluster_.intra_node;
  return std::max(between, within) + slower.latency * rounds(groups.size);
}

HopTimes ExchangeTimes::rows() const {
  const auto time = [&](const DispatchHop& hop) {
    const double rows = expected_traffic(config_.model, topology_, hop).rows;
    return all_to_all(tokens_of(config_) * rows * row_bytes(config_), hop.groups);
  };
  return {time(hops_.front()), hops_.size() > 1 ? time(hops_.back()) : 0};
}

double ExchangeTimes::metadata() const {
  constexpr double kWord = 8;
  double seconds = 0;
  for (const DispatchHop& hop : hops_) {
    const double pairs = tokens_of(config_) * expected_traffic(config_.model, topology_, hop).pairs;
    const auto peers = static_cast<double>(hop.groups.size - 1);
    seconds += all_to_all(2 * kWord * peers, hop.groups) + all_to_all(kWord * pairs, hop.groups);
  }
  return seconds;
}

double ExchangeTimes::message() const {
  if (topology_.stages == 1) return 0;
  const bool apart =
      neighbours_apart(topology_.data_size(), topology_.world, cluster_.ranks_per_node) > 0;
  const config::LinkSpeed& link = apart ? cluster_.inter_node : cluster_.intra_node;
  return tokens_of(config_) * row_bytes(config_) / link.bandwidth + link.latency;
}

double ExchangeTimes::ring(double crossing, const RankGroups& groups, bool adds) const {
  if (groups.size == 1) return 0;
  const GroupPlacement place = place_groups(groups, topology_.world, cluster_.ranks_per_node);
  const auto steps = static_cast<double>(groups.size - 1);
  if (place.ring_apart == 0) {
    return crossing / bandwidth(cluster_.intra_node, adds) + steps * cluster_.intra_node.latency;
  }
  // Members that share a node share its ways out: a ring through each of them.
  double slowest = bandwidth(cluster_.inter_node, adds) * place.fewest_together;
  if (place.fewest_together > 1) {
    slowest = std::min(slowest, bandwidth(cluster_.intra_node, adds));
  }
  return crossing / slowest + steps * cluster_.inter_node.latency;
}

double ExchangeTimes::all_reduce(double bytes, const RankGroups& groups) const {
  const auto ranks = static_cast<double>(groups.size);
  return ring(2 * bytes * (ranks - 1) / ranks, groups, /*adds=*/true);
}

double ExchangeTimes::reduce_scatter(double bytes, const RankGroups& groups) const {
  const auto ranks = static_cast<double>(groups.size);
  return ring(bytes * (ranks - 1) / ranks, groups, /*adds=*/true);
}

double ExchangeTimes::all_gather(double bytes, const RankGroups& groups) const {
  const auto ranks = static_cast<double>(groups.size);
  return ring(bytes * (ranks - 1) / ranks, groups, /*adds=*/false);
}

}  // namespace dsmoe::train
