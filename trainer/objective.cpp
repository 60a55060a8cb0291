#include "trainer/objective.h"

namespace dsmoe::train {
namespace {

/// alpha * sum(loss_U) / units, added to term; with alpha 0 the loss stays out of the graph.
double add_loss(at::Tensor& term, const at::Tensor& loss_U, double alpha, int64_t units) {
  if (!loss_U.defined()) return 0;
  const at::Tensor sum = loss_U.sum().to(at::kDouble);
  if (alpha != 0.0) term = term + sum * (alpha / static_cast<double>(units));
  return sum.item<double>();
}

BalanceSums add_layer(at::Tensor& term, const nn::BalanceLosses& losses,
                      const config::BalanceConfig& balance, int64_t units) {
  return {add_loss(term, losses.expert_U, balance.expert, units),
          add_loss(term, losses.device_U, balance.device, units),
          add_loss(term, losses.communication_U, balance.communication, units),
          add_loss(term, losses.z_U, balance.z, units),
          add_loss(term, losses.complementary_U, balance.complementary, units)};
}

}  // namespace

bool has_balance_terms(const config::BalanceConfig& balance) {
  return balance.expert != 0 || balance.device != 0 || balance.communication != 0 ||
         balance.z != 0 || balance.complementary != 0;
}

Objective balance_objective(const nn::ModelOutput& output, const nn::LossUnits& units,
                            const LayerCounts& counts, const config::RunConfig& config,
                            const GlobalCounts& global) {
  Objective objective;
  objective.total = at::zeros({}, at::kDouble);
  const bool any = has_balance_terms(config.balance);
  const at::AutoGradMode gradient(at::GradMode::is_enabled() && any);
  for (size_t i = 0; i < output.routing.size(); ++i) {
    nn::RoutingRecord record = output.routing[i];
    if (config.balance.z == 0) record.logits_NE = record.logits_NE.detach();  // its value alone
    const auto losses = nn::balance_losses(record, counts[i], units, config.model);
    at::Tensor term = at::zeros({}, at::kDouble);
    objective.balance_sums.push_back(
        add_layer(term, losses, config.balance, std::max<int64_t>(global.units, 1)));
    if (!any) continue;
    objective.total = objective.total + term;
    objective.balance_terms.push_back(term);
  }
  return objective;
}

void add_language_loss(Objective& objective, nn::Model& model, const nn::ModelOutput& output,
                       const data::TokenBatch& batch, const GlobalCounts& global) {
  const at::Tensor lm_sum = model->loss_sum(output, batch.targets_BT, batch.weights_BT);
  objective.lm_sum = lm_sum.item<double>();
  objective.total = objective.total + lm_sum / (global.targets > 0 ? global.targets : 1.0);
}

}  // namespace dsmoe::train
