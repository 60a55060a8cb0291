#include "modules/balance_loss.h"

namespace dsmoe::nn {
namespace {

/// Calls visit(sequence, the token's K experts) for every token that is not padding.
template <class Visit>
void each_token(const at::Tensor& experts_NK, const at::Tensor& valid_BT, int64_t batch,
                const Visit& visit) {
  const int64_t rows = experts_NK.size(0);
  const int64_t length = batch == 0 ? 0 : rows / batch;
  const at::Tensor valid = valid_BT.defined() ? valid_BT.contiguous() : at::Tensor();
  const bool* is_valid = valid.defined() ? valid.const_data_ptr<bool>() : nullptr;
  const auto* experts = experts_NK.const_data_ptr<int64_t>();
  for (int64_t n = 0; n < rows; ++n) {
    if (is_valid == nullptr || is_valid[n]) visit(n / length, experts + n * experts_NK.size(1));
  }
}

int64_t sequence_length(const at::Tensor& scores_NE, const at::Tensor& valid_BT, int64_t batch) {
  if (valid_BT.defined()) return valid_BT.size(1);
  return batch == 0 ? 0 : scores_NE.size(0) / batch;
}

at::Tensor divide_by_tokens(const at::Tensor& counts_BX, const at::Tensor& tokens_B) {
  return counts_BX.to(at::kDouble) / tokens_B.clamp_min(1).to(at::kDouble).unsqueeze(1);
}

at::Tensor tokens_of(const at::Tensor& scores_NE, const at::Tensor& valid_BT, int64_t batch) {
  if (valid_BT.defined()) return valid_BT.sum(1);
  return at::full({batch}, sequence_length(scores_NE, valid_BT, batch), at::kLong);
}

at::Tensor weighted_sum(const at::Tensor& fraction_BX, const at::Tensor& affinity_BX) {
  return (fraction_BX.to(affinity_BX.scalar_type()) * affinity_BX).sum(1);
}

/// Affinities that sum to 1 over the experts.
at::Tensor shares(const at::Tensor& scores_NE, const config::ModelConfig& config) {
  if (config.scoring_func == config::ScoringFunc::kSoftmax) return scores_NE;
  return scores_NE / (scores_NE.sum(1, true) + 1e-20);
}

}  // namespace

at::Tensor count_pairs(const at::Tensor& experts_NK, const at::Tensor& valid_BT, int64_t batch,
                       const config::ModelConfig& config) {
  at::Tensor counts_BE = at::zeros({batch, config.n_routed_experts}, at::kLong);
  auto* counts = counts_BE.mutable_data_ptr<int64_t>();
  each_token(experts_NK, valid_BT, batch, [&](int64_t b, const int64_t* experts) {
    for (int64_t k = 0; k < config.num_experts_per_tok; ++k) {
      ++counts[b * config.n_routed_experts + experts[k]];
    }
  });
  return counts_BE;
}

at::Tensor count_visits(const at::Tensor& experts_NK, const at::Tensor& valid_BT, int64_t batch,
                        const config::ModelConfig& config) {
  at::Tensor visits_BD = at::zeros({batch, config.n_group}, at::kLong);
  auto* visits = visits_BD.mutable_data_ptr<int64_t>();
  std::vector<char> visited(static_cast<size_t>(config.n_group));
  each_token(experts_NK, valid_BT, batch, [&](int64_t b, const int64_t* experts) {
    std::fill(visited.begin(), visited.end(), 0);
    for (int64_t k = 0; k < config.num_experts_per_tok; ++k) {
      visited[static_cast<size_t>(experts[k] / config.experts_per_group())] = 1;
    }
    for (int64_t g = 0; g < config.n_group; ++g) {
      visits[b * config.n_group + g] += visited[static_cast<size_t>(g)];
    }
  });
  return visits_BD;
}

at::Tensor expert_fraction(const at::Tensor& pairs_BE, const at::Tensor& tokens_B,
                           const config::ModelConfig& config) {
  const double scale = static_cast<double>(config.n_routed_experts) /
                       static_cast<double>(config.num_experts_per_tok);
  return divide_by_tokens(pairs_BE, tokens_B) * scale;  // (24)
}

at::Tensor mean_affinity(const at::Tensor& scores_NE, const at::Tensor& valid_BT, int64_t batch) {
  const int64_t length = sequence_length(scores_NE, valid_BT, batch);
  const at::Tensor scores_BTE = scores_NE.view({batch, length, scores_NE.size(1)});
  if (!valid_BT.defined()) return scores_BTE.sum(1) / std::max<int64_t>(length, 1);
  const at::Tensor valid = valid_BT.to(scores_NE.scalar_type());
  return (scores_BTE * valid.unsqueeze(2)).sum(1) / valid.sum(1, true).clamp_min(1);  // (25)
}

at::Tensor device_fraction(const at::Tensor& fraction_BE, int64_t groups) {
  return fraction_BE.unflatten(1, {groups, fraction_BE.size(1) / groups}).mean(2);  // (27)
}

at::Tensor device_affinity(const at::Tensor& affinity_BE, int64_t groups) {
  return affinity_BE.unflatten(1, {groups, affinity_BE.size(1) / groups}).sum(2);  // (28)
}

at::Tensor visit_fraction(const at::Tensor& visits_BD, const at::Tensor& tokens_B,
                          const config::ModelConfig& config) {
  const double scale = static_cast<double>(config.n_group) / static_cast<double>(config.topk_group);
  return divide_by_tokens(visits_BD, tokens_B) * scale;  // (30)
}

BalanceLosses balance_losses(const RoutingRecord& record, const at::Tensor& valid_BT, int64_t batch,
                             const config::ModelConfig& config) {
  const at::Tensor tokens_B = tokens_of(record.scores_NE, valid_BT, batch);
  const at::Tensor fraction_BE =
      expert_fraction(count_pairs(record.experts_NK, valid_BT, batch, config), tokens_B, config);
  const at::Tensor affinity_BE = mean_affinity(shares(record.scores_NE, config), valid_BT, batch);
  const at::Tensor device_affinity_BD = device_affinity(affinity_BE, config.n_group);  // (31)
  const at::Tensor visits_BD =
      visit_fraction(count_visits(record.experts_NK, valid_BT, batch, config), tokens_B, config);
  return {weighted_sum(fraction_BE, affinity_BE),                                          // (23)
          weighted_sum(device_fraction(fraction_BE, config.n_group), device_affinity_BD),  // (26)
          weighted_sum(visits_BD, device_affinity_BD)};                                    // (29)
}

}  // namespace dsmoe::nn
