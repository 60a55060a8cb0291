#include "trainer/cluster_bench.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>

#include "trainer/agreement.h"
#include "trainer/memory_estimate.h"
#include "trainer/network_bench.h"
#include "trainer/plan_exchange.h"
#include "trainer/session.h"
#include "trainer/speed_probes.h"

namespace dsmoe::train {
namespace {

/// The mean over ranks, which begin together.
template <class Probe>
double on_all(parallel::Communicator& world, const Probe& probe) {
  world.barrier();
  at::Tensor value = at::full({1}, probe(), at::kDouble);
  if (world.size() > 1) world.all_reduce(value, parallel::ReduceOp::kSum);
  return value.item<double>() / static_cast<double>(world.size());
}

void add_products(std::vector<ProductWork>& to, const PassWork& part) {
  for (const Work* work : {&part.forward, &part.input_gradient, &part.weight_gradient}) {
    to.insert(to.end(), work->products.begin(), work->products.end());
  }
}

/// The matrix products of the model's layers and head, each shape once.
std::vector<ProductWork> products_of(const config::RunConfig& config,
                                     const parallel::Topology& topology) {
  std::vector<ProductWork> all;
  for (const bool moe : {false, true}) {
    if (moe && config.model.num_moe_layers() == 0) continue;
    const LayerWork layer = layer_work(config, topology, moe);
    for (const PassWork* part : {&layer.attention, &layer.router, &layer.beside, &layer.experts}) {
      add_products(all, *part);
    }
  }
  add_products(all, head_work(config));
  std::set<std::tuple<double, double, double>> seen;
  std::erase_if(all, [&](const ProductWork& p) { return !seen.insert({p.m, p.k, p.n}).second; });
  return all;
}

double flops_of(const config::MeasuredProduct& p) {
  return 2.0 * static_cast<double>(p.m) * static_cast<double>(p.k) * static_cast<double>(p.n);
}

/// The half size that fits measured speeds best, by their logarithms.
double fitted_half_size(const std::vector<config::MeasuredProduct>& products, double peak) {
  double best = 0, least = std::numeric_limits<double>::infinity();
  for (double half = 0; half <= 512; half = half == 0 ? 1 : half * 1.25) {
    double sum = 0;
    for (const config::MeasuredProduct& p : products) {
      const auto smallest = static_cast<double>(std::min({p.m, p.k, p.n}));
      const double speed = peak * smallest / (smallest + half);
      sum += std::pow(std::log(flops_of(p) / p.seconds / speed), 2);
    }
    if (sum >= least) continue;
    least = sum;
    best = half;
  }
  return best;
}

void measure_products(config::ComputeSpeed& compute, const config::RunConfig& config,
                      const parallel::Topology& topology, parallel::Communicator& world) {
  constexpr double kSquare = 1024;
  const ProductWork square{kSquare, kSquare, kSquare};
  const config::Precision precision = config.run.precision;
  const double seconds = on_all(world, [&] { return probe_product(square, precision); });
  const double peak = 2 * kSquare * kSquare * kSquare / seconds;
  (precision == config::Precision::kFp64   ? compute.fp64
   : precision == config::Precision::kFp32 ? compute.fp32
                                           : compute.bf16) = peak;
  for (const ProductWork& product : products_of(config, topology)) {
    compute.products.push_back({std::llround(product.m), std::llround(product.k),
                                std::llround(product.n),
                                on_all(world, [&] { return probe_product(product, precision); })});
  }
  compute.gemm_half_size = fitted_half_size(compute.products, peak);
}

void measure_attention(config::ComputeSpeed& compute, const config::RunConfig& config,
                       const parallel::Topology& topology, parallel::Communicator& world) {
  AttentionSeconds here;
  const double forward = on_all(world, [&] {
    here = probe_attention(config);
    return here.forward;
  });
  const double backward = on_all(world, [&] { return here.backward; });
  const PassWork work = layer_work(config, topology, /*moe=*/false).attention;
  const double peak = compute.peak(config.run.precision);
  compute.attention_efficiency = std::min(1.0, work.forward.attention_forward / forward / peak);
  compute.attention_backward_efficiency =
      std::min(1.0, work.input_gradient.attention_backward / backward / peak);
}

/// Of an operation's measured sizes the one nearest to `bytes`.
const CollectiveTime& nearest(const NetworkTimes& times, const std::string& operation,
                              double bytes) {
  const auto apart = [&](const CollectiveTime& one) {
    const bool same = one.operation == operation;
    return same ? std::abs(std::log(static_cast<double>(one.bytes) / std::max(bytes, 1.0)))
                : std::numeric_limits<double>::infinity();
  };
  return *std::min_element(times.collectives.begin(), times.collectives.end(),
                           [&](const auto& a, const auto& b) { return apart(a) < apart(b); });
}

config::LinkSpeed measure_links(const config::RunConfig& config, const parallel::Topology& topology,
                                parallel::Communicator& ranks) {
  if (ranks.size() == 1) return {};
  constexpr int64_t kRepetitions = 5;
  const NetworkTimes times = bench_network(ranks, kRepetitions);
  const NumberWidths widths = widths_of(config.run.precision);
  const double rows =
      static_cast<double>(config.batch.micro_sequences * config.data.sequence_length *
                          config.model.hidden_size * widths.compute);
  const HeldCount held =
      HeldWeights(config).of(nn::slices_of_stage(config, 0), topology.expert_size);
  const double rounds = std::ceil(std::log2(static_cast<double>(ranks.size())));
  return {nearest(times, "all_to_all", rows).bus_bytes_per_second,
          nearest(times, "all_reduce", static_cast<double>(held.dense * widths.master))
              .bus_bytes_per_second,
          nearest(times, "all_to_all", 0).seconds / rounds};
}

double memory_of_host() {
  return static_cast<double>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<double>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

config::ClusterConfig bench_cluster(const config::RunConfig& config, CommandContext& context) {
  const auto topology = run_topology(config, context.world);
  const int64_t threads = threads_per_rank(config.run.threads, context.ranks_on_cores);
  at::set_num_threads(static_cast<int>(threads));
  parallel::Communicator& world = context.world;
  config::ClusterConfig cluster;
  NodeShape shape;
  const auto placements = gather_placements(world);
  agree(world, [&] { shape = node_shape(placements); });
  cluster.nodes = shape.nodes;
  cluster.ranks_per_node = shape.ranks_per_node;
  measure_products(cluster.compute, config, topology, world);
  measure_attention(cluster.compute, config, topology, world);
  cluster.compute.operation_seconds = on_all(world, [] { return probe_operation(); });
  cluster.compute.ranks_per_core =
      std::max(1.0, static_cast<double>(context.ranks_on_cores * threads) /
                        static_cast<double>(own_placement().cores.size()));
  cluster.memory.bytes = memory_of_host() / static_cast<double>(shape.ranks_per_node);
  cluster.memory.bandwidth = on_all(world, [] { return probe_memory(); });
  cluster.memory.cache_bandwidth = on_all(world, [&] { return probe_activations(config); });
  if (world.size() == 1) return cluster;
  cluster.compute.stragglers = probe_stragglers(world);
  // All nodes, and all ranks of a node, at once: a rank's share of what they have in common.
  const int64_t node = world.rank() / shape.ranks_per_node,
                place = world.rank() % shape.ranks_per_node;
  cluster.intra_node = measure_links(config, topology, *world.split(node, place, "within_node"));
  cluster.inter_node = measure_links(config, topology, *world.split(place, node, "across_nodes"));
  return cluster;
}

}  // namespace dsmoe::train
