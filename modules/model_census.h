#pragma once

#include <cstdint>

#include "configs/model_config.h"

namespace dsmoe::nn {

/// Parameters of a model, in elements. "Active" are those that one token meets.
struct ParameterCensus {
  int64_t total = 0;
  int64_t active = 0;                          ///< with both embeddings
  int64_t active_without_input_embedding = 0;  ///< the "21B" of V2
  int64_t active_without_embeddings = 0;
  int64_t routed_experts = 0;  ///< of all layers: what expert parallelism shards
  int64_t embedding = 0;       ///< the input embedding; the head has as many
};
[[nodiscard]] ParameterCensus count_parameters(const config::ModelConfig& config);

/// Floating-point operations per token, 2 per multiply-add, at a sequence length. Norms, softmax
/// and rotations are left out, as is the embedding lookup. Training is three times forward.
struct FlopsCensus {
  double forward = 0;  ///< attention over the causal half, (T + 1) / 2 keys a token
  double training = 0;
  double training_noncausal = 0;  ///< attention over all T keys
  int64_t sequence_length = 0;
};
[[nodiscard]] FlopsCensus count_flops(const config::ModelConfig& config, int64_t sequence_length);

/// Elements of the key-value cache per token: (d_c + d_h^R) * layers, V2 Table 1.
[[nodiscard]] int64_t kv_cache_elements(const config::ModelConfig& config);

}  // namespace dsmoe::nn
