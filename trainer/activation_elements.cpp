#include "trainer/activation_elements.h"

#include <algorithm>
#include <cmath>

namespace dsmoe::train {
namespace {

/// Elements that a layer's attention keeps for backward, per token.
int64_t attention_elements(const config::ModelConfig& model, const nn::Recompute& again) {
  const int64_t output = model.num_attention_heads * (model.v_head_dim + 1);
  const int64_t inputs = (again.norms ? 1 : 2) * model.hidden_size;
  if (!model.is_mla()) {
    // Queries, keys and values, the last two once more as attention reads them, and two inputs.
    return inputs + model.num_attention_heads * model.qk_head_dim() + 2 * model.cache_width() +
           output;
  }
  const int64_t heads = again.mla_up
                            ? 0
                            : model.num_attention_heads *
                                  (model.qk_head_dim() + model.qk_nope_head_dim + model.v_head_dim);
  const int64_t query_latent = model.q_lora_rank.value_or(0);
  const int64_t normed = again.norms ? 0 : query_latent + model.kv_lora_rank;
  return inputs + query_latent + 2 * model.kv_lora_rank + 2 * model.qk_rope_head_dim + normed +
         heads + output;
}

int64_t rows_elements(const config::ModelConfig& model, double rows) {
  return std::llround(rows * static_cast<double>(model.hidden_size));
}

/// Elements that a layer's feed-forward part keeps for backward, per token.
int64_t feed_forward_elements(const config::ModelConfig& model, bool moe,
                              const nn::Recompute& again, double arrived) {
  const int64_t activated = again.swiglu ? 2 : 3;
  if (!moe) {
    return (again.norms ? 1 : 2) * model.hidden_size + activated * model.intermediate_size;
  }
  const int64_t shared = activated * model.n_shared_experts * model.moe_intermediate_size;
  const int64_t routed =
      again.experts ? 0 : 2 * model.num_experts_per_tok * model.moe_intermediate_size;
  return 3 * model.hidden_size + rows_elements(model, arrived) + shared + routed +
         2 * model.n_routed_experts;
}

int64_t attention_put_off(const config::ModelConfig& model) {
  const int64_t heads = model.num_attention_heads, output = heads * model.v_head_dim;
  const int64_t ends = 2 * model.hidden_size + output;  // into the first, into and out of the last
  if (!model.is_mla()) return ends + heads * model.qk_head_dim() + model.cache_width();
  const int64_t query = 2 * model.q_lora_rank.value_or(0) + heads * model.qk_head_dim();
  const int64_t key_value = 2 * model.kv_lora_rank + model.qk_rope_head_dim +
                            heads * (model.qk_nope_head_dim + model.v_head_dim);
  return ends + query + key_value;
}

int64_t feed_forward_put_off(const config::ModelConfig& model, bool moe, const nn::Recompute& again,
                             double arrived) {
  const int64_t activated = again.swiglu ? 4 : 3, ends = 2 * model.hidden_size;
  if (!moe) return ends + activated * model.intermediate_size;
  const int64_t width = model.moe_intermediate_size;
  return ends + rows_elements(model, 2 * std::max(1.0, arrived)) +
         activated * model.n_shared_experts * width + 3 * model.num_experts_per_tok * width;
}

}  // namespace

int64_t layer_elements(const config::ModelConfig& model, int64_t layer, const nn::Recompute& again,
                       double arrived) {
  return attention_elements(model, again) +
         feed_forward_elements(model, model.is_moe_layer(layer), again, arrived);
}

int64_t replayed_elements(const config::ModelConfig& model, int64_t layer) {
  return model.hidden_size + (model.is_moe_layer(layer) ? 2 * model.n_routed_experts : 0);
}

int64_t put_off_elements(const config::ModelConfig& model, int64_t layer,
                         const nn::Recompute& again, double arrived) {
  return attention_put_off(model) +
         feed_forward_put_off(model, model.is_moe_layer(layer), again, arrived);
}

}  // namespace dsmoe::train
