#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "modules/balance_counts.h"
#include "modules/balance_loss.h"
#include "modules/router.h"

namespace dsmoe::train {

/// Router logits of S sequences of T tokens, as `run.record_logits` or any program wrote them.
struct RecordedLogits {
  at::Tensor logits_STE;           ///< float32 or float64
  at::Tensor bias_E;               ///< of the choice; undefined: none
  std::vector<int64_t> sequences;  ///< global numbers, S; 0, 1, ... where the file does not say
};

/// The tensors `logits` [S, T, E] and, if there, `bias` [E] and `sequences` [S] of a safetensors
/// file. Throws CheckpointError naming file and tensor, ConfigError where E is not the model's.
[[nodiscard]] RecordedLogits read_logits(const std::string& path, const config::ModelConfig& model);

/// What a routing policy makes of logits.
struct RoutedLogits {
  nn::Routing routing;       ///< of S * T tokens
  at::Tensor kept_NK;        ///< bool
  nn::BalanceCounts counts;  ///< per unit of balance.scope
  nn::BalanceLosses losses;  ///< raw, per unit
  int64_t units = 0;         ///< units with tokens
};

/// Routes, drops and counts as one step of a run with this configuration would: one micro-batch,
/// its first sequence the first of its pool. Local, no gradient.
[[nodiscard]] RoutedLogits route_logits(const RecordedLogits& recorded,
                                        const config::RunConfig& config);

}  // namespace dsmoe::train
