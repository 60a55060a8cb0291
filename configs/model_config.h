#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace dsmoe::config {

enum class ScoringFunc { kSoftmax, kSigmoid };
enum class TopkMethod { kGreedy, kGroupLimitedGreedy, kNoauxTc };
enum class GroupScore { kMax, kTop2Sum, kTopkSum };
enum class AttentionKind { kMla, kMha, kGqa, kMqa };

/// Which attention a layer has: V2's own, or one of those it is compared with (V2 appendix D).
struct AttentionConfig {
  AttentionKind kind = AttentionKind::kMla;

  bool operator==(const AttentionConfig&) const = default;
};

/// YaRN, with the published key names; absent means plain RoPE (V2 section 3.1.4).
struct RopeScaling {
  double factor = 1.0;
  int64_t original_max_position_embeddings = 4096;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double mscale = 1.0;
  double mscale_all_dim = 0.0;

  bool operator==(const RopeScaling&) const = default;
};

/// The architecture, under the names of the published config.json.
/// Symbols of V2: hidden_size d, qk_nope_head_dim d_h, qk_rope_head_dim d_h^R, kv_lora_rank d_c,
/// q_lora_rank d_c', n_routed_experts N_r, n_shared_experts N_s, num_experts_per_tok K_r,
/// n_group D, topk_group M.
struct ModelConfig {
  std::string preset;     ///< a file under configs/; empty: none
  std::string init_from;  ///< a Hugging Face or step directory; empty: random weights

  int64_t vocab_size = 259;
  int64_t hidden_size = 256;
  int64_t num_hidden_layers = 4;
  int64_t num_attention_heads = 4;
  int64_t intermediate_size = 1024;
  int64_t max_position_embeddings = 4096;

  AttentionConfig attention;
  std::optional<int64_t> num_key_value_heads;  ///< none: what attention.kind implies
  std::optional<int64_t> q_lora_rank;
  int64_t kv_lora_rank = 64;
  int64_t qk_nope_head_dim = 32;
  int64_t qk_rope_head_dim = 32;
  int64_t v_head_dim = 32;

  int64_t n_routed_experts = 16;
  int64_t n_shared_experts = 1;
  int64_t num_experts_per_tok = 4;
  int64_t moe_intermediate_size = 128;
  int64_t first_k_dense_replace = 1;
  int64_t moe_layer_freq = 1;

  ScoringFunc scoring_func = ScoringFunc::kSoftmax;
  TopkMethod topk_method = TopkMethod::kGroupLimitedGreedy;
  GroupScore group_score = GroupScore::kMax;
  int64_t n_group = 4;
  int64_t topk_group = 2;
  bool norm_topk_prob = false;
  double routed_scaling_factor = 1.0;

  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  std::optional<RopeScaling> rope_scaling;
  double initializer_range = 0.006;
  int64_t bos_token_id = 256;
  int64_t eos_token_id = 257;

  /// Width of a query or key head: nope and rope parts side by side, V2 (16), (17).
  [[nodiscard]] int64_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }
  [[nodiscard]] bool is_mla() const { return attention.kind == AttentionKind::kMla; }
  /// Heads of the keys and values where num_key_value_heads does not say.
  [[nodiscard]] int64_t implied_key_value_heads() const {
    return attention.kind == AttentionKind::kMqa ? 1 : num_attention_heads;
  }
  [[nodiscard]] int64_t key_value_heads() const {
    return num_key_value_heads.value_or(implied_key_value_heads());
  }
  /// Numbers that decoding keeps of one token and layer: the latent and the rotated key (MLA), or
  /// every head's key and value.
  [[nodiscard]] int64_t cache_width() const {
    return is_mla() ? kv_lora_rank + qk_rope_head_dim
                    : key_value_heads() * (qk_head_dim() + v_head_dim);
  }
  /// Experts of one device group, V2 section 2.2.2.
  [[nodiscard]] int64_t experts_per_group() const { return n_routed_experts / n_group; }
  /// Layers that hold routed experts.
  [[nodiscard]] int64_t num_moe_layers() const { return moe_layers_before(num_hidden_layers); }
  /// MoE layers among the first `layers`: the place of the next one among all MoE layers.
  [[nodiscard]] int64_t moe_layers_before(int64_t layers) const {
    int64_t count = 0;
    for (int64_t i = 0; i < layers; ++i) count += is_moe_layer(i) ? 1 : 0;
    return count;
  }
  /// Whether layer `index` (from 0) holds routed experts.
  [[nodiscard]] bool is_moe_layer(int64_t index) const {
    return n_routed_experts > 0 && index >= first_k_dense_replace && index % moe_layer_freq == 0;
  }

  bool operator==(const ModelConfig&) const = default;
};

}  // namespace dsmoe::config
