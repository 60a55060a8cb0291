#include "modules/model_census.h"

#include <algorithm>
#include <numeric>
#include <string_view>

#include "modules/published_tensors.h"

namespace dsmoe::nn {
namespace {

/// Multiply-adds of one token's attention core over `keys` keys.
double attention_core(const config::ModelConfig& config, double keys) {
  return keys *
         static_cast<double>(config.num_attention_heads *
                             (config.qk_head_dim() + config.v_head_dim) * config.num_hidden_layers);
}

/// Elements of the weights that multiply a token, of each layer and then of the head: active ones,
/// norms and the lookup left out.
std::vector<int64_t> active_matrix_elements(const config::ModelConfig& config) {
  const auto layers = static_cast<size_t>(config.num_hidden_layers);
  std::vector<int64_t> elements(layers + 1), expert(layers + 1);
  for (const PublishedTensor& t : published_tensors(config)) {
    if (t.shape.size() < 2 || t.name == "model.embed_tokens.weight") continue;
    const auto layer = static_cast<size_t>(layer_of(t.name).value_or(config.num_hidden_layers));
    (is_routed_expert(t.name) ? expert : elements)[layer] += t.numel();
  }
  for (size_t i = 0; i < layers; ++i) {
    if (expert[i] == 0) continue;
    elements[i] += expert[i] / config.n_routed_experts * config.num_experts_per_tok;
  }
  return elements;
}

bool has(const std::string& name, std::string_view part) {
  return name.find(part) != std::string::npos;
}

int64_t& part_of(const std::string& name, PartCensus& parts) {
  if (name == "model.embed_tokens.weight") return parts.input_embedding;
  if (name == "lm_head.weight") return parts.output_head;
  if (has(name, ".self_attn.")) return parts.attention;
  if (is_routed_expert(name)) return parts.routed_experts;
  if (has(name, ".shared_experts.")) return parts.shared_experts;
  if (has(name, ".mlp.gate.")) return parts.router;
  return has(name, ".mlp.") ? parts.dense_feed_forward : parts.norms;
}

/// Sum over the layers of the active FFN in units of 8 d^2.
double ffn_units(const config::ModelConfig& config) {
  const auto unit = 8.0 * static_cast<double>(config.hidden_size);
  double units = 0;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const int64_t width =
        config.is_moe_layer(i)
            ? (config.num_experts_per_tok + config.n_shared_experts) * config.moe_intermediate_size
            : config.intermediate_size;
    units += 3.0 * static_cast<double>(width) / unit;
  }
  return units;
}

/// Multiply-adds of a token over `keys` cached tokens, beside its matrices. Under MLA those are
/// latents: W^UK and W^UV stand among the matrices, since they multiply the query and the output
/// instead of every key.
double decode_core(const config::ModelConfig& config, double keys) {
  if (!config.is_mla()) return attention_core(config, keys);
  return keys * static_cast<double>(config.num_attention_heads *
                                    (2 * config.kv_lora_rank + config.qk_rope_head_dim) *
                                    config.num_hidden_layers);
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
  const auto elements = active_matrix_elements(config);
  const auto matrices =
      static_cast<double>(std::accumulate(elements.begin(), elements.end(), int64_t{0}));
  const auto length = static_cast<double>(sequence_length);
  FlopsCensus census;
  census.sequence_length = sequence_length;
  census.forward = 2.0 * (matrices + attention_core(config, (length + 1.0) / 2.0));
  census.training = 3.0 * census.forward;
  census.training_noncausal = 6.0 * (matrices + attention_core(config, length));
  census.decode = 2.0 * (matrices + decode_core(config, length + 1.0));
  census.training_paper = paper_flops(config.num_hidden_layers, config.hidden_size,
                                      ffn_units(config), config.vocab_size, sequence_length);
  return census;
}

std::vector<double> count_layer_flops(const config::ModelConfig& config, int64_t sequence_length) {
  const double keys = (static_cast<double>(sequence_length) + 1.0) / 2.0;
  const double core = attention_core(config, keys) / static_cast<double>(config.num_hidden_layers);
  std::vector<double> flops;
  for (const int64_t elements : active_matrix_elements(config)) {
    const bool head = static_cast<int64_t>(flops.size()) == config.num_hidden_layers;
    flops.push_back(2.0 * (static_cast<double>(elements) + (head ? 0.0 : core)));
  }
  return flops;
}

PartCensus count_parts(const config::ModelConfig& config) {
  PartCensus parts;
  for (const PublishedTensor& t : published_tensors(config)) part_of(t.name, parts) += t.numel();
  return parts;
}

double paper_flops(int64_t layers, int64_t width, double ffn_units, int64_t vocabulary,
                   int64_t sequence_length) {
  const auto d = static_cast<double>(width);
  const auto depth = static_cast<double>(layers);
  return 24.0 * depth * d * d + 48.0 * d * d * ffn_units +
         12.0 * depth * d * static_cast<double>(sequence_length) +
         6.0 * static_cast<double>(vocabulary) * d;
}

CacheCensus compare_caches(const config::ModelConfig& config) {
  const int64_t width =
      config.is_mla() ? 2 * config.qk_nope_head_dim : config.qk_head_dim() + config.v_head_dim;
  const int64_t head = width * config.num_hidden_layers;
  return {config.num_attention_heads * head, 8 * head, head};
}

TrafficCensus count_traffic(const config::ModelConfig& config) {
  if (config.n_routed_experts == 0) return {};
  const auto experts = static_cast<double>(config.n_routed_experts);
  const auto elsewhere = experts - static_cast<double>(config.experts_per_group());
  double missed = 1.0;  // the chance that none of K experts lies in a given group
  for (int64_t k = 0; k < config.num_experts_per_tok; ++k) {
    const auto drawn = static_cast<double>(k);
    missed *= std::max(0.0, elsewhere - drawn) / (experts - drawn);
  }
  const bool limited = config.topk_method != config::TopkMethod::kGreedy;
  return {static_cast<double>(config.num_experts_per_tok),
          static_cast<double>(config.n_group) * (1.0 - missed),
          static_cast<double>(
              std::min(limited ? config.topk_group : config.n_group, config.num_experts_per_tok))};
}

int64_t kv_cache_elements(const config::ModelConfig& config) {
  return config.cache_width() * config.num_hidden_layers;
}

}  // namespace dsmoe::nn
