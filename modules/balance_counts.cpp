#include "modules/balance_counts.h"

#include "modules/router.h"

namespace dsmoe::nn {
namespace {

/// Calls visit(piece, expert, group, is first of the group in this token) for every counted pair.
template <class Visit>
void for_pairs(const at::Tensor& experts_NK, const at::Tensor& kept_NK, const LossUnits& units,
               const config::ModelConfig& config, const Visit& visit) {
  const int64_t choices = config.num_experts_per_tok;
  const auto* const experts = experts_NK.const_data_ptr<int64_t>();
  const bool* const kept = kept_NK.defined() ? kept_NK.const_data_ptr<bool>() : nullptr;
  const std::vector<int64_t> groups = groups_of_experts(config);
  std::vector<int64_t> last_visit(static_cast<size_t>(config.n_group), -1);
  for_rows_of(units, [&](int64_t piece, int64_t n) {
    for (int64_t p = n * choices; p < (n + 1) * choices; ++p) {
      if (kept != nullptr && !kept[p]) continue;
      const int64_t group = groups[static_cast<size_t>(experts[p])];
      int64_t& last = last_visit[static_cast<size_t>(group)];
      visit(piece, experts[p], group, last != n);
      last = n;
    }
  });
}

}  // namespace

std::vector<int64_t> groups_of_experts(const config::ModelConfig& config) {
  std::vector<int64_t> groups;
  for (int64_t e = 0; e < config.n_routed_experts; ++e) {
    groups.push_back(e / config.experts_per_group());
  }
  return groups;
}

at::Tensor count_pairs(const at::Tensor& experts_NK, const at::Tensor& kept_NK,
                       const LossUnits& units, const config::ModelConfig& config) {
  at::Tensor counts_UE = at::zeros({units.count, config.n_routed_experts}, at::kLong);
  auto* const counts = counts_UE.mutable_data_ptr<int64_t>();
  for_pairs(experts_NK, kept_NK, units, config, [&](int64_t piece, int64_t expert, int64_t, bool) {
    ++counts[units.units[static_cast<size_t>(piece)] * config.n_routed_experts + expert];
  });
  return counts_UE;
}

at::Tensor count_visits(const at::Tensor& experts_NK, const at::Tensor& kept_NK,
                        const LossUnits& units, const config::ModelConfig& config) {
  at::Tensor visits_UD = at::zeros({units.count, config.n_group}, at::kLong);
  auto* const visits = visits_UD.mutable_data_ptr<int64_t>();
  for_pairs(experts_NK, kept_NK, units, config,
            [&](int64_t piece, int64_t, int64_t group, bool first) {
              const auto at = static_cast<size_t>(piece);
              if (!first || (!units.homes.empty() && units.homes[at] == group)) return;
              ++visits[units.units[at] * config.n_group + group];
            });
  return visits_UD;
}

BalanceCounts count_routing(const RoutingRecord& record, const LossUnits& units,
                            const config::BalanceConfig& balance,
                            const config::ModelConfig& config) {
  const bool after = balance.count == config::BalanceCount::kAfterDrop;
  const at::Tensor kept_NK = after ? record.kept_NK : at::Tensor();
  BalanceCounts counts{count_tokens(units), count_pairs(record.experts_NK, kept_NK, units, config),
                       count_visits(record.experts_NK, kept_NK, units, config)};
  if (balance.complementary != 0.0) {
    config::ModelConfig plain = config;
    plain.topk_method = config::TopkMethod::kGreedy;
    counts.unbiased_pairs_UE =
        count_pairs(select_experts(record.scores_NE, plain), {}, units, config);
  }
  return counts;
}

}  // namespace dsmoe::nn
