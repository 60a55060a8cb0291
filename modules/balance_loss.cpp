#include "modules/balance_loss.h"

#include "modules/segment_mean.h"

namespace dsmoe::nn {
namespace {

/// Calls visit(sequence, the token's K experts) for every token that is not padding.
template <class Visit>
void each_token(const at::Tensor& experts_NK, const at::Tensor& valid_N, const Segments& sequences,
                const Visit& visit) {
  const bool* is_valid = valid_N.defined() ? valid_N.const_data_ptr<bool>() : nullptr;
  const auto* experts = experts_NK.const_data_ptr<int64_t>();
  for (int64_t s = 0; s < sequences.count(); ++s) {
    for (int64_t n = sequences.start(s); n < sequences.start(s + 1); ++n) {
      if (is_valid == nullptr || is_valid[n]) visit(s, experts + n * experts_NK.size(1));
    }
  }
}

at::Tensor divide_by_tokens(const at::Tensor& counts_SX, const at::Tensor& tokens_S) {
  return counts_SX.to(at::kDouble) / tokens_S.clamp_min(1).to(at::kDouble).unsqueeze(1);
}

at::Tensor weighted_sum(const at::Tensor& fraction_SX, const at::Tensor& affinity_SX) {
  return (fraction_SX.to(affinity_SX.scalar_type()) * affinity_SX).sum(1);
}

/// Affinities that sum to 1 over the experts.
at::Tensor shares(const at::Tensor& scores_NE, const config::ModelConfig& config) {
  if (config.scoring_func == config::ScoringFunc::kSoftmax) return scores_NE;
  return scores_NE / (scores_NE.sum(1, true) + 1e-20);
}

}  // namespace

at::Tensor count_pairs(const at::Tensor& experts_NK, const at::Tensor& valid_N,
                       const Segments& sequences, const config::ModelConfig& config) {
  at::Tensor counts_SE = at::zeros({sequences.count(), config.n_routed_experts}, at::kLong);
  auto* counts = counts_SE.mutable_data_ptr<int64_t>();
  each_token(experts_NK, valid_N, sequences, [&](int64_t s, const int64_t* experts) {
    for (int64_t k = 0; k < config.num_experts_per_tok; ++k) {
      ++counts[s * config.n_routed_experts + experts[k]];
    }
  });
  return counts_SE;
}

at::Tensor count_visits(const at::Tensor& experts_NK, const at::Tensor& valid_N,
                        const Segments& sequences, const config::ModelConfig& config) {
  at::Tensor visits_SD = at::zeros({sequences.count(), config.n_group}, at::kLong);
  auto* visits = visits_SD.mutable_data_ptr<int64_t>();
  std::vector<char> visited(static_cast<size_t>(config.n_group));
  each_token(experts_NK, valid_N, sequences, [&](int64_t s, const int64_t* experts) {
    std::fill(visited.begin(), visited.end(), 0);
    for (int64_t k = 0; k < config.num_experts_per_tok; ++k) {
      visited[static_cast<size_t>(experts[k] / config.experts_per_group())] = 1;
    }
    for (int64_t g = 0; g < config.n_group; ++g) {
      visits[s * config.n_group + g] += visited[static_cast<size_t>(g)];
    }
  });
  return visits_SD;
}

at::Tensor expert_fraction(const at::Tensor& pairs_SE, const at::Tensor& tokens_S,
                           const config::ModelConfig& config) {
  const double scale = static_cast<double>(config.n_routed_experts) /
                       static_cast<double>(config.num_experts_per_tok);
  return divide_by_tokens(pairs_SE, tokens_S) * scale;  // (24)
}

at::Tensor device_fraction(const at::Tensor& fraction_SE, int64_t groups) {
  return fraction_SE.unflatten(1, {groups, fraction_SE.size(1) / groups}).mean(2);  // (27)
}

at::Tensor device_affinity(const at::Tensor& affinity_SE, int64_t groups) {
  return affinity_SE.unflatten(1, {groups, affinity_SE.size(1) / groups}).sum(2);  // (28)
}

at::Tensor visit_fraction(const at::Tensor& visits_SD, const at::Tensor& tokens_S,
                          const config::ModelConfig& config) {
  const double scale = static_cast<double>(config.n_group) / static_cast<double>(config.topk_group);
  return divide_by_tokens(visits_SD, tokens_S) * scale;  // (30)
}

BalanceLosses balance_losses(const RoutingRecord& record, const at::Tensor& valid_N,
                             const Segments& sequences, const config::ModelConfig& config) {
  const at::Tensor tokens_S = count_rows(sequences, valid_N);
  const at::Tensor fraction_SE =
      expert_fraction(count_pairs(record.experts_NK, valid_N, sequences, config), tokens_S, config);
  const at::Tensor affinity_SE =
      segment_mean(shares(record.scores_NE, config), sequences, valid_N);              // (25)
  const at::Tensor device_affinity_SD = device_affinity(affinity_SE, config.n_group);  // (31)
  const at::Tensor visits_SD =
      visit_fraction(count_visits(record.experts_NK, valid_N, sequences, config), tokens_S, config);
  return {weighted_sum(fraction_SE, affinity_SE),                                          // (23)
          weighted_sum(device_fraction(fraction_SE, config.n_group), device_affinity_SD),  // (26)
          weighted_sum(visits_SD, device_affinity_SD)};                                    // (29)
}

}  // namespace dsmoe::nn
