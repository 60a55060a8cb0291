#include "modules/balance_loss.h"

#include "modules/row_loop.h"
#include "modules/softmax_row.h"

namespace dsmoe::nn {
namespace {

at::Tensor divide_by_tokens(const at::Tensor& counts_UX, const at::Tensor& tokens_U) {
  return counts_UX.to(at::kDouble) / tokens_U.clamp_min(1).to(at::kDouble).unsqueeze(1);
}

at::Tensor weighted_sum(const at::Tensor& fraction_UX, const at::Tensor& affinity_UX) {
  return (fraction_UX.to(affinity_UX.scalar_type()) * affinity_UX).sum(1);
}

/// Affinities that sum to 1 over the experts.
at::Tensor shares(const at::Tensor& scores_NE, const config::ModelConfig& config) {
  if (config.scoring_func == config::ScoringFunc::kSoftmax) return scores_NE;
  return scores_NE / (scores_NE.sum(1, true) + 1e-20);
}

/// log(sum(exp(logits))) of each token, outside of the graph, by way of its affinities.
at::Tensor known_log_sums(const RoutingRecord& record) {
  const at::Tensor logits_NE = record.logits_NE.contiguous();
  const at::Tensor scores_NE = record.scores_NE.detach().contiguous();
  at::Tensor sums_N1 = at::empty({logits_NE.size(0), 1}, logits_NE.options());
  const int64_t experts = logits_NE.size(1);
  AT_DISPATCH_FLOATING_TYPES(logits_NE.scalar_type(), "known_log_sums", [&] {
    const auto* const logits = logits_NE.const_data_ptr<scalar_t>();
    const auto* const scores = scores_NE.const_data_ptr<scalar_t>();
    auto* const sums = sums_N1.mutable_data_ptr<scalar_t>();
    for_rows(logits_NE.size(0), 2 * experts, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        sums[n] = log_sum_exp(logits + n * experts, scores + n * experts, experts);
      }
    });
  });
  return sums_N1;
}

at::Tensor z_losses(const RoutingRecord& record, const LossUnits& units, const at::Tensor& tokens_U,
                    const config::ModelConfig& config) {
  const bool known = config.scoring_func == config::ScoringFunc::kSoftmax &&
                     !(record.logits_NE.requires_grad() && at::GradMode::is_enabled());
  const at::Tensor sums_N1 =
      known ? known_log_sums(record) : record.logits_NE.logsumexp(1, /*keepdim=*/true);
  return share_of_mean(sums_N1.square(), units, tokens_U).squeeze(1);
}

}  // namespace

at::Tensor expert_fraction(const at::Tensor& pairs_UE, const at::Tensor& tokens_U,
                           const config::ModelConfig& config) {
  const double scale = static_cast<double>(config.n_routed_experts) /
                       static_cast<double>(config.num_experts_per_tok);
  return divide_by_tokens(pairs_UE, tokens_U) * scale;  // (24)
}

at::Tensor device_fraction(const at::Tensor& fraction_UE, int64_t groups) {
  return fraction_UE.unflatten(1, {groups, fraction_UE.size(1) / groups}).mean(2);  // (27)
}

at::Tensor device_affinity(const at::Tensor& affinity_UE, int64_t groups) {
  return affinity_UE.unflatten(1, {groups, affinity_UE.size(1) / groups}).sum(2);  // (28)
}

at::Tensor visit_fraction(const at::Tensor& visits_UD, const at::Tensor& tokens_U,
                          const config::ModelConfig& config) {
  const double scale = static_cast<double>(config.n_group) / static_cast<double>(config.topk_group);
  return divide_by_tokens(visits_UD, tokens_U) * scale;  // (30)
}

BalanceLosses balance_losses(const RoutingRecord& record, const BalanceCounts& counts,
                             const LossUnits& units, const config::ModelConfig& config) {
  const at::Tensor affinity_UE =
      share_of_mean(shares(record.scores_NE, config), units, counts.tokens_U);  // (25)
  const at::Tensor fraction_UE = expert_fraction(counts.pairs_UE, counts.tokens_U, config);
  const at::Tensor device_affinity_UD = device_affinity(affinity_UE, config.n_group);  // (31)
  const at::Tensor visits_UD = visit_fraction(counts.visits_UD, counts.tokens_U, config);
  BalanceLosses losses;
  losses.expert_U = weighted_sum(fraction_UE, affinity_UE);  // (23)
  losses.device_U =
      weighted_sum(device_fraction(fraction_UE, config.n_group), device_affinity_UD);  // (26)
  losses.communication_U = weighted_sum(visits_UD, device_affinity_UD);                // (29)
  losses.z_U = z_losses(record, units, counts.tokens_U, config);
  if (counts.unbiased_pairs_UE.defined()) {
    losses.complementary_U = weighted_sum(
        expert_fraction(counts.unbiased_pairs_UE, counts.tokens_U, config), affinity_UE);
  }
  return losses;
}

}  // namespace dsmoe::nn
