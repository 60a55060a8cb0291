#pragma once

#include <cstdint>
#include <vector>

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

/// The same elements by what they are for; they add up to the total.
struct PartCensus {
  int64_t input_embedding = 0;
  int64_t output_head = 0;
  int64_t attention = 0;  ///< with the norms of the latents
  int64_t dense_feed_forward = 0;
  int64_t routed_experts = 0;
  int64_t shared_experts = 0;
  int64_t router = 0;  ///< with the correction bias, where there is one
  int64_t norms = 0;   ///< of the layers, and the last
};
[[nodiscard]] PartCensus count_parts(const config::ModelConfig& config);

/// Floating-point operations per token, 2 per multiply-add, at a sequence length. Norms, softmax
/// and rotations are left out, as is the embedding lookup. Training is three times forward.
struct FlopsCensus {
  double forward = 0;  ///< attention over the causal half, (T + 1) / 2 keys a token
  double training = 0;
  double training_noncausal = 0;  ///< attention over all T keys
  double decode = 0;              ///< of one more token after T; under MLA over the latents
  /// Training in the convention of the DeepSeekMoE paper: 24 L d^2 + 48 d^2 sum(x) + 12 L d T +
  /// 6 V d, with attention counted as full multi-head attention of width d; x: a layer's active FFN
  /// in units of 8 d^2.
  double training_paper = 0;
  int64_t sequence_length = 0;
};
[[nodiscard]] FlopsCensus count_flops(const config::ModelConfig& config, int64_t sequence_length);

/// Forward operations per token of each layer, and of the head as if it were one more.
[[nodiscard]] std::vector<double> count_layer_flops(const config::ModelConfig& config,
                                                    int64_t sequence_length);

/// The DeepSeekMoE paper's operations per token; ffn_units is the sum of x over the layers.
[[nodiscard]] double paper_flops(int64_t layers, int64_t width, double ffn_units,
                                 int64_t vocabulary, int64_t sequence_length);

/// Elements of the key-value cache per token, V2 Table 1: cache_width() * layers.
[[nodiscard]] int64_t kv_cache_elements(const config::ModelConfig& config);

/// What classic attentions of the same heads would cache per token, V2 Table 1: heads of d_h under
/// MLA, as there; else of the widths they have.
struct CacheCensus {
  int64_t mha = 0;
  int64_t gqa = 0;  ///< of 8 groups
  int64_t mqa = 0;
};
[[nodiscard]] CacheCensus compare_caches(const config::ModelConfig& config);

/// Rows of hidden_size numbers that one token sends per MoE layer and direction, all device groups
/// counted, its own too.
struct TrafficCensus {
  double naive = 0;           ///< one per chosen expert: K_r
  double deduplicated = 0;    ///< one per group reached, experts drawn without regard to groups
  double device_limited = 0;  ///< the bound of the group limit: min(M, K_r); greedy: min(D, K_r)
};
[[nodiscard]] TrafficCensus count_traffic(const config::ModelConfig& config);

}  // namespace dsmoe::nn
