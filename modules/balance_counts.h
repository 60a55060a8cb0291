#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "configs/model_config.h"
#include "configs/run_config.h"
#include "modules/loss_units.h"
#include "modules/routing_record.h"

namespace dsmoe::nn {

/// What the balance losses of one layer count, int64 and constant: here, or summed over all pieces
/// of each unit. U units, E experts, D device groups.
struct BalanceCounts {
  at::Tensor tokens_U;
  at::Tensor pairs_UE;   ///< pairs of each expert
  at::Tensor visits_UD;  ///< tokens sent to each device group; a token counts once a group
  /// Pairs if each token had taken its K largest affinities; undefined unless
  /// balance.complementary is set.
  at::Tensor unbiased_pairs_UE{};
};

/// The device group of each expert: a look-up is cheaper than a division a pair.
[[nodiscard]] std::vector<int64_t> groups_of_experts(const config::ModelConfig& config);

/// Pairs of each expert in each unit, int64 [U, E]; kept_NK (bool, may be undefined) leaves dropped
/// ones out.
[[nodiscard]] at::Tensor count_pairs(const at::Tensor& experts_NK, const at::Tensor& kept_NK,
                                     const LossUnits& units, const config::ModelConfig& config);

/// Tokens sent to each device group in each unit, int64 [U, D]. units.homes, if there, leaves out
/// the group that a piece is at home in.
[[nodiscard]] at::Tensor count_visits(const at::Tensor& experts_NK, const at::Tensor& kept_NK,
                                      const LossUnits& units, const config::ModelConfig& config);

/// The counts of the rows here, as balance.count and balance.complementary ask for. Local.
[[nodiscard]] BalanceCounts count_routing(const RoutingRecord& record, const LossUnits& units,
                                          const config::BalanceConfig& balance,
                                          const config::ModelConfig& config);

}  // namespace dsmoe::nn
