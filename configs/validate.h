#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "configs/run_config.h"

namespace dsmoe::config {

/// What the model section alone must satisfy, and that its router is implemented.
/// Throws ConfigError.
void check_model(const ModelConfig& model);

/// What any use of a configuration needs: keys that fit each other, and nothing asked for that is
/// not implemented. resolve() calls it. Throws ConfigError with every complaint; messages name
/// both keys and numbers: `model.n_routed_experts (63) must be divisible by model.n_group (8)`.
void check_config(const RunConfig& config);

/// What training needs besides: data, a length, a tokenizer that fits the vocabulary.
/// Throws ConfigError.
void check_training(const RunConfig& config);

/// What a world of that many ranks needs: world = pipeline * expert * replicas, experts and device
/// groups that fit the ranks, whole pools. Throws ConfigError.
void check_layout(const RunConfig& config, int64_t world);

/// One sentence for each key that was changed from its default and that nothing will read.
std::vector<std::string> without_effect(const RunConfig& config);

}  // namespace dsmoe::config
