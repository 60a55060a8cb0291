#pragma once

#include <ATen/core/Tensor.h>

#include "configs/model_config.h"
#include "modules/routing_record.h"

namespace dsmoe::nn {

// The three balance losses of V2 section 2.2.3 for one layer, per sequence, without their factors.
// B sequences of T positions, N = B * T; valid_BT (bool, may be undefined) leaves padding out of
// every count and mean. Counts are constants; gradient flows through the affinities only.

/// Chosen pairs of each expert in each sequence, int64 [B, E], before dropping.
[[nodiscard]] at::Tensor count_pairs(const at::Tensor& experts_NK, const at::Tensor& valid_BT,
                                     int64_t batch, const config::ModelConfig& config);

/// Tokens sent to each device group in each sequence, int64 [B, D]; a token counts once a group.
[[nodiscard]] at::Tensor count_visits(const at::Tensor& experts_NK, const at::Tensor& valid_BT,
                                      int64_t batch, const config::ModelConfig& config);

/// f, V2 (24): 1 for every expert at uniform load. Zero for an empty sequence. Float64 [B, E].
[[nodiscard]] at::Tensor expert_fraction(const at::Tensor& pairs_BE, const at::Tensor& tokens_B,
                                         const config::ModelConfig& config);

/// P, V2 (25): mean affinity over a sequence's tokens, [B, E], differentiable.
[[nodiscard]] at::Tensor mean_affinity(const at::Tensor& scores_NE, const at::Tensor& valid_BT,
                                       int64_t batch);

/// f', V2 (27): mean of f over a device group's experts, [B, D].
[[nodiscard]] at::Tensor device_fraction(const at::Tensor& fraction_BE, int64_t groups);

/// P', V2 (28): sum of P over a device group's experts, [B, D].
[[nodiscard]] at::Tensor device_affinity(const at::Tensor& affinity_BE, int64_t groups);

/// f'', V2 (30): visits of a device group over M * T / D, float64 [B, D].
[[nodiscard]] at::Tensor visit_fraction(const at::Tensor& visits_BD, const at::Tensor& tokens_B,
                                        const config::ModelConfig& config);

/// Raw values of one layer, [B] each, in the affinities' dtype; 1 = uniform, 0 for an empty
/// sequence.
struct BalanceLosses {
  at::Tensor expert_B;
  at::Tensor device_B;
  at::Tensor communication_B;
};

/// V2 (23), (26), (29) of a layer's routing. Sigmoid affinities are first divided by their sum over
/// the experts, as in V3's sequence-wise loss, so that 1 is uniform for them, too. Local.
[[nodiscard]] BalanceLosses balance_losses(const RoutingRecord& record, const at::Tensor& valid_BT,
                                           int64_t batch, const config::ModelConfig& config);

}  // namespace dsmoe::nn
