#include "trainer/objective.h"

#include <array>

namespace dsmoe::train {
namespace {

/// alpha * sum(loss_S) / sequences, added to total; with alpha 0 the loss stays out of the graph.
double add_term(at::Tensor& total, const at::Tensor& loss_S, double alpha, int64_t sequences) {
  const at::Tensor sum = loss_S.sum().to(at::kDouble);
  if (alpha != 0.0) total = total + sum * (alpha / static_cast<double>(sequences));
  return sum.item<double>();
}

nn::BalanceLosses losses_of(const nn::RoutingRecord& record, const at::Tensor& valid_BT,
                            const nn::Segments& segments, const config::BalanceConfig& balance,
                            const config::ModelConfig& model) {
  const bool any = balance.expert != 0 || balance.device != 0 || balance.communication != 0;
  const at::AutoGradMode gradient(at::GradMode::is_enabled() && any);
  return nn::balance_losses(record, valid_BT, segments, model);
}

}  // namespace

Objective make_objective(nn::Model& model, const nn::ModelOutput& output,
                         const at::Tensor& targets_BT, const at::Tensor& valid_BT,
                         const config::BalanceConfig& balance, const GlobalCounts& counts) {
  Objective objective;
  const at::Tensor lm_sum = model->loss_sum(output, targets_BT);
  objective.lm_sum = lm_sum.item<double>();
  objective.total = lm_sum / static_cast<double>(std::max<int64_t>(counts.targets, 1));
  const int64_t sequences = std::max<int64_t>(counts.sequences, 1);
  for (const nn::RoutingRecord& record : output.routing) {
    const auto losses = losses_of(record, valid_BT, output.segments, balance, model->config());
    objective.balance_sums.push_back(
        {add_term(objective.total, losses.expert_S, balance.expert, sequences),
         add_term(objective.total, losses.device_S, balance.device, sequences),
         add_term(objective.total, losses.communication_S, balance.communication, sequences)});
  }
  return objective;
}

}  // namespace dsmoe::train
