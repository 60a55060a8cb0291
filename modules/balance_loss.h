#pragma once

#include <ATen/core/Tensor.h>

#include "configs/model_config.h"
#include "configs/run_config.h"
#include "modules/balance_counts.h"
#include "modules/loss_units.h"
#include "modules/routing_record.h"

namespace dsmoe::nn {

// The balance losses of V2 section 2.2.3 for one layer, per unit (V2's is a sequence), without
// their factors. With the counts as constants each is a sum over the unit's tokens: so what the
// rows here contribute adds up, over micro-batches and ranks, to the loss of the whole unit and its
// gradient.

/// f, V2 (24): 1 for every expert at uniform load. Zero for an empty unit. Float64 [U, E].
[[nodiscard]] at::Tensor expert_fraction(const at::Tensor& pairs_UE, const at::Tensor& tokens_U,
                                         const config::ModelConfig& config);

/// f', V2 (27): mean of f over a device group's experts, [U, D].
[[nodiscard]] at::Tensor device_fraction(const at::Tensor& fraction_UE, int64_t groups);

/// P', V2 (28): sum of P over a device group's experts, [U, D].
[[nodiscard]] at::Tensor device_affinity(const at::Tensor& affinity_UE, int64_t groups);

/// f'', V2 (30): visits of a device group over M * T / D, float64 [U, D].
[[nodiscard]] at::Tensor visit_fraction(const at::Tensor& visits_UD, const at::Tensor& tokens_U,
                                        const config::ModelConfig& config);

/// Raw values of one layer, [U] each, in the affinities' dtype: what the rows here contribute.
/// Whole, the first three and the last are 1 at uniform load, and 0 for an empty unit.
struct BalanceLosses {
  at::Tensor expert_U;
  at::Tensor device_U;
  at::Tensor communication_U;
  at::Tensor z_U;              ///< mean of log(sum exp(logits))^2, ST-MoE's router z-loss
  at::Tensor complementary_U;  ///< V3 (17)-(20); undefined unless balance.complementary is set
};

/// V2 (23), (26), (29), the z-loss and V3's sequence-wise loss of a layer's routing. counts: of
/// whole units. Sigmoid affinities are first divided by their sum over the experts, as in V3's
/// loss, so that 1 is uniform for them, too. Local.
[[nodiscard]] BalanceLosses balance_losses(const RoutingRecord& record, const BalanceCounts& counts,
                                           const LossUnits& units,
                                           const config::ModelConfig& config);

}  // namespace dsmoe::nn
