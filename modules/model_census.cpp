#include "modules/model_census.h"

#include "modules/published_tensors.h"

namespace dsmoe::nn {
namespace {

/// Multiply-adds of one token's attention core over `keys` keys.
double attention_core(const config::ModelConfig& config, double keys) {
  return keys *
         static_cast<double>(config.num_attention_heads *
                             (config.qk_head_dim() + config.v_head_dim) * config.num_hidden_layers);
}

/// Elements of the weights that multiply a token: active ones, norms and the lookup left out.
int64_t active_matrix_elements(const config::ModelConfig& config) {
  int64_t elements = 0;
  int64_t expert = 0;
  for (const PublishedTensor& t : published_tensors(config)) {
    if (t.shape.size() < 2 || t.name == "model.embed_tokens.weight") continue;
    (is_routed_expert(t.name) ? expert : elements) += t.numel();
  }
  if (expert == 0) return elements;
  return elements + expert / config.n_routed_experts * config.num_experts_per_tok;
}

}  // namespace

ParameterCensus count_parameters(const config::ModelConfig& config) {
  ParameterCensus census;
  for (const PublishedTensor& t : published_tensors(config)) {
    census.total += t.numel();
    if (is_routed_expert(t.name)) census.routed_experts += t.numel();
  }
  census.embedding = config.vocab_size * config.hidden_size;
  census.active = census.total - census.routed_experts;
  if (config.n_routed_experts > 0) {
    census.active += census.routed_experts / config.n_routed_experts * config.num_experts_per_tok;
  }
  census.active_without_input_embedding = census.active - census.embedding;
  census.active_without_embeddings = census.active - 2 * census.embedding;
  return census;
}

FlopsCensus count_flops(const config::ModelConfig& config, int64_t sequence_length) {
  const auto matrices = static_cast<double>(active_matrix_elements(config));
  const auto length = static_cast<double>(sequence_length);
  FlopsCensus census;
  census.sequence_length = sequence_length;
  census.forward = 2.0 * (matrices + attention_core(config, (length + 1.0) / 2.0));
  census.training = 3.0 * census.forward;
  census.training_noncausal = 6.0 * (matrices + attention_core(config, length));
  return census;
}

int64_t kv_cache_elements(const config::ModelConfig& config) {
  return (config.kv_lora_rank + config.qk_rope_head_dim) * config.num_hidden_layers;
}

}  // namespace dsmoe::nn
