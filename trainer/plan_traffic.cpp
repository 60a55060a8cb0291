#include "trainer/plan_traffic.h"

#include <cmath>

#include "modules/recompute.h"
#include "modules/router_variation.h"
#include "parallel/share.h"
#include "trainer/memory_estimate.h"
#include "trainer/micro_batches.h"
#include "trainer/plan_groups.h"
#include "trainer/plan_hops.h"
#include "trainer/run_summary.h"

namespace dsmoe::train {
namespace {

/// Of one exchange of a layer in one direction, over all tokens of a step.
struct Remote {
  double rows = 0;
  double pairs = 0;
};

double step_tokens(const config::RunConfig& config) {
  return static_cast<double>(config.batch.sequences * config.data.sequence_length);
}

Remote expected_remote(const config::RunConfig& config, const parallel::Topology& topology,
                       const DispatchHop& hop) {
  const HopTraffic token = expected_traffic(config.model, topology, hop);
  return {step_tokens(config) * token.rows, step_tokens(config) * token.pairs};
}

/// By the turn of a token, what it sends from rank `home`; sums over turns before each. Experts are
/// dealt out in turns of as many tokens as there are experts.
std::vector<Remote> dealt_from(int64_t home, const config::ModelConfig& model,
                               int64_t experts_per_rank, const DispatchHop& hop) {
  const int64_t period = model.n_routed_experts, choices = model.num_experts_per_tok;
  const nn::RouterVariation dealing{.force_balance = true, .numbers = {0}, .keys = {}};
  const at::Tensor experts_NK = nn::balanced_experts(period, dealing, model);
  const auto* experts = experts_NK.const_data_ptr<int64_t>();
  std::vector<Remote> before(static_cast<size_t>(period) + 1);
  std::vector<int64_t> seen(static_cast<size_t>(period / experts_per_rank), -1);
  for (int64_t turn = 0; turn < period; ++turn) {
    Remote sum = before[static_cast<size_t>(turn)];
    for (int64_t k = 0; k < choices; ++k) {
      const int64_t rank = experts[turn * choices + k] / experts_per_rank;
      if (!hop.leaves(home, rank)) continue;
      ++sum.pairs;
      int64_t& last = seen[static_cast<size_t>(hop.target(rank))];
      if (last != turn) ++sum.rows;
      last = turn;
    }
    before[static_cast<size_t>(turn) + 1] = sum;
  }
  return before;
}

/// Of `count` tokens from a turn on.
Remote dealt(const std::vector<Remote>& before, int64_t turn, int64_t count) {
  const auto period = static_cast<int64_t>(before.size()) - 1;
  const auto until = [&](int64_t end) {
    const auto whole = static_cast<double>(end / period);
    const Remote& rest = before[static_cast<size_t>(end % period)];
    return Remote{whole * before.back().rows + rest.rows, whole * before.back().pairs + rest.pairs};
  };
  const Remote from = until(turn), to = until(turn + count);
  return {to.rows - from.rows, to.pairs - from.pairs};
}

/// Exact: where experts are dealt out, what a token sends depends on its place in the run.
Remote dealt_remote(const config::RunConfig& config, const parallel::Topology& topology,
                    const DispatchHop& hop) {
  const int64_t ranks = topology.expert_size, length = config.data.sequence_length;
  const int64_t period = config.model.n_routed_experts;
  std::vector<std::vector<Remote>> from;
  for (int64_t home = 0; home < ranks; ++home) {
    from.push_back(dealt_from(home, config.model, period / ranks, hop));
  }
  Remote sum;
  for (int64_t s = 0; s < config.batch.sequences; ++s) {
    const int64_t home = s / config.batch.micro_sequences % ranks;
    const Remote one = dealt(from[static_cast<size_t>(home)], s * length % period, length);
    sum.rows += one.rows;
    sum.pairs += one.pairs;
  }
  return sum;
}

/// Adds bytes of which `apart` cross nodes.
void add(LinkBytes& to, int64_t bytes, double apart) {
  const double between = to.between_nodes() + static_cast<double>(bytes) * apart;
  to.bytes += bytes;
  to.apart = to.bytes > 0 ? between / static_cast<double>(to.bytes) : 0;
}

/// Rows cross out and back, forward and backward; a layer that is run again sends its rows again.
struct Crossings {
  double rows;
  double pairs;
};

Crossings crossings(const config::RunConfig& config) {
  const bool again = nn::recompute_of(config.run.recompute).dispatches_again();
  return again ? Crossings{5, 3} : Crossings{4, 2};
}

/// Of all layers' exchanges at one hop.
void plan_hop(PlannedTraffic& traffic, const config::RunConfig& config,
              const parallel::Topology& topology, const DispatchHop& hop, double apart) {
  const Remote remote = traffic.determined ? dealt_remote(config, topology, hop)
                                           : expected_remote(config, topology, hop);
  const auto layers = static_cast<double>(config.model.num_moe_layers());
  const NumberWidths widths = widths_of(config.run.precision);
  const Crossings crossing = crossings(config);
  const auto row_bytes = static_cast<double>(config.model.hidden_size * widths.compute);
  add(traffic.rows, std::llround(layers * crossing.rows * remote.rows * row_bytes), apart);
  const int64_t exchanges =
      num_micro_batches(cut_batch(config, 0, config.batch.sequences), topology) *
      topology.data_size();
  constexpr double kWord = 8;  // counts of rows and pairs to each rank, an address a pair
  const double counts =
      static_cast<double>(exchanges) * 2 * kWord * static_cast<double>(hop.groups.size - 1);
  add(traffic.metadata,
      std::llround(layers * (counts + kWord * remote.pairs +
                             crossing.pairs * remote.pairs * static_cast<double>(widths.master))),
      apart);
}

void plan_rows(PlannedTraffic& traffic, const config::RunConfig& config,
               const parallel::Topology& topology, int64_t ranks_per_node) {
  if (topology.expert_size == 1 || config.model.num_moe_layers() == 0) return;
  traffic.determined = config.router.force_balance && config.drop.kind == config::DropKind::kNone;
  for (const DispatchHop& hop : dispatch_hops(topology)) {
    plan_hop(traffic, config, topology, hop,
             place_groups(hop.groups, topology.world, ranks_per_node).pairs_apart);
  }
}

/// What goes round a group, of all its ranks.
struct Ring {
  int64_t sum = 0;  ///< all-reduce; to the owners of shares a reduce-scatter, or bucket by bucket
  int64_t gather = 0;  ///< all-gather
};

Ring ring(int64_t count, int64_t ranks, const config::ParallelConfig& parallel,
          const NumberWidths& widths) {
  if (ranks == 1) return {};
  const int64_t padded = parallel::padded(count, {0, ranks});
  if (parallel.zero == 0) return {2 * (ranks - 1) * count * widths.master, 0};
  return {(ranks - 1) * (parallel.overlap ? count : padded) * widths.master,
          (ranks - 1) * padded * widths.compute};
}

void plan_sums(PlannedTraffic& traffic, const config::RunConfig& config,
               const parallel::Topology& topology, const HeldWeights& weights,
               int64_t ranks_per_node) {
  const NumberWidths widths = widths_of(config.run.precision);
  const auto apart = [&](const RankGroups& groups) {
    return place_groups(groups, topology.world, ranks_per_node).ring_apart;
  };
  const double data_apart = apart(data_groups(topology)),
               replicas_apart = apart(replica_groups(topology));
  for (int64_t stage = 0; stage < topology.stages; ++stage) {
    const HeldCount held = weights.of(nn::slices_of_stage(config, stage), topology.expert_size);
    const Ring dense = ring(held.dense, topology.data_size(), config.parallel, widths);
    const Ring expert = ring(held.expert, topology.replicas(), config.parallel, widths);
    add(traffic.gradients, dense.sum, data_apart);
    add(traffic.gradients, expert.sum * topology.expert_size, replicas_apart);
    add(traffic.weights, dense.gather, data_apart);
    add(traffic.weights, expert.gather * topology.expert_size, replicas_apart);
  }
}

/// The share of a pipeline's messages that leave a node: most go to the next stage, those between
/// two chunks from the last to the first.
double messages_apart(const config::RunConfig& config, const parallel::Topology& topology,
                      int64_t ranks_per_node) {
  const auto apart = [&](int64_t stages) {
    return neighbours_apart(stages * topology.data_size(), topology.world, ranks_per_node);
  };
  if (topology.stages == 1) return 0;
  const auto near = static_cast<double>(config.parallel.chunks * (topology.stages - 1));
  const auto far = static_cast<double>(config.parallel.chunks - 1);
  return (near * apart(1) + far * apart(topology.stages - 1)) / (near + far);
}

}  // namespace

RankBytes bytes_of_a_rank(const PlannedTraffic& traffic, int64_t ranks) {
  RankBytes sum;
  for (const LinkBytes& one :
       {traffic.rows, traffic.metadata, traffic.pipeline, traffic.gradients, traffic.weights}) {
    sum.within_nodes += one.within_nodes() / static_cast<double>(ranks);
    sum.between_nodes += one.between_nodes() / static_cast<double>(ranks);
  }
  return sum;
}

PlannedTraffic plan_traffic(const config::RunConfig& config, const parallel::Topology& topology,
                            const HeldWeights& weights, int64_t ranks_per_node) {
  PlannedTraffic traffic;
  plan_rows(traffic, config, topology, ranks_per_node);
  traffic.rows_bound = estimate_row_bytes(config, topology);
  traffic.pipeline = {pipeline_bytes(config, topology),
                      messages_apart(config, topology, ranks_per_node)};
  plan_sums(traffic, config, topology, weights, ranks_per_node);
  return traffic;
}

}  // namespace dsmoe::train
