#include "trainer/plan_hops.h"

#include <algorithm>

namespace dsmoe::train {
namespace {

double real(int64_t value) { return static_cast<double>(value); }

/// C(a, k) / C(b, k).
double ratio_of_choices(int64_t a, int64_t b, int64_t k) {
  double ratio = 1;
  for (int64_t i = 0; i < k; ++i) ratio *= std::max<double>(0, real(a - i)) / real(b - i);
  return ratio;
}

double choices(int64_t n, int64_t k) {
  double value = 1;
  for (int64_t i = 0; i < k; ++i) value *= real(n - i) / real(i + 1);
  return k > n ? 0 : value;
}

}  // namespace

std::vector<DispatchHop> dispatch_hops(const parallel::Topology& topology) {
  const int64_t ranks = topology.expert_size, per_node = topology.ranks_per_node;
  if (!topology.experts_span_nodes()) return {{{ranks, 1}, 1}};
  return {{{ranks / per_node, per_node}, per_node}, {{per_node, 1}, 1}};
}

HopTraffic expected_traffic(const config::ModelConfig& model, const parallel::Topology& topology,
                            const DispatchHop& hop) {
  const double visits = expected_ranks(model, topology.expert_size / hop.ranks_per_target);
  const double others = real(hop.groups.size - 1) / real(hop.groups.size);
  return {visits, visits * others, real(model.num_experts_per_tok) * others};
}

double expected_ranks(const config::ModelConfig& m, int64_t expert_size) {
  if (m.n_routed_experts == 0) return 0;
  const bool limited = m.topk_method != config::TopkMethod::kGreedy;
  const int64_t groups = limited ? m.n_group : 1;
  const int64_t chosen = limited ? std::min(m.topk_group, groups) : 1;
  const int64_t group_size = m.n_routed_experts / groups;
  const int64_t candidates = chosen * group_size;
  const int64_t here = m.n_routed_experts / expert_size;
  const int64_t groups_here = std::max<int64_t>(1, here / group_size);
  const int64_t per_group = std::min(here, group_size);
  double visited = 0;
  for (int64_t j = 1; j <= std::min(groups_here, chosen); ++j) {
    const double likely = choices(groups_here, j) * choices(groups - groups_here, chosen - j) /
                          choices(groups, chosen);
    visited += likely * (1 - ratio_of_choices(candidates - j * per_group, candidates,
                                              m.num_experts_per_tok));
  }
  return real(expert_size) * visited;
}

}  // namespace dsmoe::train
