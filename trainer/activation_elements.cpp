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
  if (again.moe) return model.hidden_size + 2 * model.n_routed_experts;
  const int64_t shared = activated * model.n_shared_experts * model.moe_intermediate_size;
  const int64_t routed =
      again.experts ? 0 : 2 * model.num_experts_per_tok * model.moe_intermediate_size;
  return 2 * model.hidden_size + rows_elements(model, arrived) + shared + routed +
         2 * model.n_routed_experts;
}

/// Of one block of experts' or of a dense layer's rows and widths, some of them not yet added up.
int64_t swiglu_gradients(const config::ModelConfig& model, int64_t width) {
  return 3 * model.hidden_size + 3 * width;
}

int64_t shared_width(const config::ModelConfig& model) {
  return model.n_shared_experts * model.moe_intermediate_size;
}

int64_t feed_forward_gradients(const config::ModelConfig& model, bool moe, double arrived) {
  if (!moe) return swiglu_gradients(model, model.intermediate_size);
  const int64_t pairs = (3 + model.num_experts_per_tok) * model.hidden_size;
  return std::max(model.hidden_size + swiglu_gradients(model, shared_width(model)),
                  pairs + rows_elements(model, arrived));
}

/// Elements of queries, keys and values of all heads.
int64_t head_elements(const config::ModelConfig& model) {
  if (!model.is_mla()) return model.num_attention_heads * model.qk_head_dim() + model.cache_width();
  return model.num_attention_heads *
         (model.qk_head_dim() + model.qk_nope_head_dim + model.v_head_dim);
}

int64_t attention_gradients(const config::ModelConfig& model) {
  return 2 * model.hidden_size + head_elements(model) +
         model.num_attention_heads * model.v_head_dim;
}

int64_t remade_attention(const config::ModelConfig& model, const nn::Recompute& again) {
  return (again.norms ? model.hidden_size : 0) + (again.mla_up ? head_elements(model) : 0);
}

int64_t remade_feed_forward(const config::ModelConfig& model, bool moe, const nn::Recompute& again,
                            double arrived) {
  if (moe && again.moe) {
    return feed_forward_elements(model, moe, {}, arrived) -
           feed_forward_elements(model, moe, again, arrived);
  }
  const int64_t width = moe ? shared_width(model) : model.intermediate_size;
  return (again.norms ? model.hidden_size : 0) + (again.swiglu ? width : 0);
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
  const bool kept = !again.swiglu || (moe && again.moe);
  const int64_t activated = kept ? 3 : 4, ends = 2 * model.hidden_size;
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

int64_t backward_elements(const config::ModelConfig& model, int64_t layer,
                          const nn::Recompute& again, double arrived, bool later) {
  const bool moe = model.is_moe_layer(layer);
  const int64_t put_off = later ? feed_forward_put_off(model, moe, again, arrived) : 0;
  const int64_t first = feed_forward_gradients(model, moe, arrived),
                then = attention_gradients(model) + put_off;
  if (again.layer) {
    const int64_t whole = layer_elements(model, layer, {}, arrived);
    const int64_t left = whole - feed_forward_elements(model, moe, {}, arrived);
    return std::max(whole + first, left + then) - replayed_elements(model, layer);
  }
  return std::max(
      remade_feed_forward(model, moe, again, arrived) + first,
      remade_attention(model, again) + then - feed_forward_elements(model, moe, again, arrived));
}

int64_t put_off_elements(const config::ModelConfig& model, int64_t layer,
                         const nn::Recompute& again, double arrived) {
  return attention_put_off(model) +
         feed_forward_put_off(model, model.is_moe_layer(layer), again, arrived);
}

}  // namespace dsmoe::train
