#pragma once

#include <ATen/core/Tensor.h>

#include "configs/model_config.h"
#include "modules/routing_record.h"
#include "modules/segments.h"

namespace dsmoe::nn {

// The three balance losses of V2 section 2.2.3 for one layer, per sequence, without their factors.
// The N rows are cut into S sequences; valid_N (bool, may be undefined) leaves padding out of every
// count and mean. Counts are constants; gradient flows through the affinities only.

/// Chosen pairs of each expert in each sequence, int64 [S, E], before dropping.
[[nodiscard]] at::Tensor count_pairs(const at::Tensor& experts_NK, const at::Tensor& valid_N,
                                     const Segments& sequences, const config::ModelConfig& config);

/// Tokens sent to each device group in each sequence, int64 [S, D]; a token counts once a group.
[[nodiscard]] at::Tensor count_visits(const at::Tensor& experts_NK, const at::Tensor& valid_N,
                                      const Segments& sequences, const config::ModelConfig& config);

/// f, V2 (24): 1 for every expert at uniform load. Zero for an empty sequence. Float64 [S, E].
[[nodiscard]] at::Tensor expert_fraction(const at::Tensor& pairs_SE, const at::Tensor& tokens_S,
                                         const config::ModelConfig& config);

/// f', V2 (27): mean of f over a device group's experts, [S, D].
[[nodiscard]] at::Tensor device_fraction(const at::Tensor& fraction_SE, int64_t groups);

/// P', V2 (28): sum of P over a device group's experts, [S, D].
[[nodiscard]] at::Tensor device_affinity(const at::Tensor& affinity_SE, int64_t groups);

/// f'', V2 (30): visits of a device group over M * T / D, float64 [S, D].
[[nodiscard]] at::Tensor visit_fraction(const at::Tensor& visits_SD, const at::Tensor& tokens_S,
                                        const config::ModelConfig& config);

/// Raw values of one layer, [S] each, in the affinities' dtype; 1 = uniform, 0 for an empty
/// sequence.
struct BalanceLosses {
  at::Tensor expert_S;
  at::Tensor device_S;
  at::Tensor communication_S;
};

/// V2 (23), (26), (29) of a layer's routing. Sigmoid affinities are first divided by their sum over
/// the experts, as in V3's sequence-wise loss, so that 1 is uniform for them, too. Local.
[[nodiscard]] BalanceLosses balance_losses(const RoutingRecord& record, const at::Tensor& valid_N,
                                           const Segments& sequences,
                                           const config::ModelConfig& config);

}  // namespace dsmoe::nn
