#include "modules/published_tensors.h"

#include <cstdlib>
#include <numeric>

namespace dsmoe::nn {
namespace {

class Lister {
 public:
  explicit Lister(const config::ModelConfig& config) : config_(config) {}

  std::vector<PublishedTensor> list() {
    add("model.embed_tokens", {config_.vocab_size, config_.hidden_size});
    for (int64_t i = 0; i < config_.num_hidden_layers; ++i) layer(i);
    add("model.norm", {config_.hidden_size});
    add("lm_head", {config_.vocab_size, config_.hidden_size});
    return std::move(tensors_);
  }

 private:
  void add(const std::string& name, std::vector<int64_t> shape) {
    tensors_.push_back({name + ".weight", std::move(shape)});
  }

  void layer(int64_t i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    add(prefix + "input_layernorm", {config_.hidden_size});
    attention(prefix + "self_attn.");
    add(prefix + "post_attention_layernorm", {config_.hidden_size});
    if (config_.is_moe_layer(i)) {
      moe(prefix + "mlp.");
    } else {
      feed_forward(prefix + "mlp.", config_.intermediate_size);
    }
  }

  void attention(const std::string& prefix) {
    if (config_.is_mla()) {
      latent_attention(prefix);
    } else {
      grouped_query_attention(prefix);
    }
    add(prefix + "o_proj", {config_.hidden_size, config_.num_attention_heads * config_.v_head_dim});
  }

  void grouped_query_attention(const std::string& prefix) {
    const int64_t groups = config_.key_value_heads();
    const int64_t hidden = config_.hidden_size;
    add(prefix + "q_proj", {config_.num_attention_heads * config_.qk_head_dim(), hidden});
    add(prefix + "k_proj", {groups * config_.qk_head_dim(), hidden});
    add(prefix + "v_proj", {groups * config_.v_head_dim, hidden});
  }

  void latent_attention(const std::string& prefix) {
    const int64_t heads = config_.num_attention_heads;
    const int64_t query = heads * config_.qk_head_dim();
    if (config_.q_lora_rank) {
      add(prefix + "q_a_proj", {*config_.q_lora_rank, config_.hidden_size});
      add(prefix + "q_a_layernorm", {*config_.q_lora_rank});
      add(prefix + "q_b_proj", {query, *config_.q_lora_rank});
    } else {
      add(prefix + "q_proj", {query, config_.hidden_size});
    }
    add(prefix + "kv_a_proj_with_mqa",
        {config_.kv_lora_rank + config_.qk_rope_head_dim, config_.hidden_size});
    add(prefix + "kv_a_layernorm", {config_.kv_lora_rank});
    add(prefix + "kv_b_proj",
        {heads * (config_.qk_nope_head_dim + config_.v_head_dim), config_.kv_lora_rank});
  }

  void feed_forward(const std::string& prefix, int64_t width) {
    add(prefix + "gate_proj", {width, config_.hidden_size});
    add(prefix + "up_proj", {width, config_.hidden_size});
    add(prefix + "down_proj", {config_.hidden_size, width});
  }

  void moe(const std::string& prefix) {
    add(prefix + "gate", {config_.n_routed_experts, config_.hidden_size});
    if (config_.topk_method == config::TopkMethod::kNoauxTc) {
      tensors_.push_back({prefix + "gate.e_score_correction_bias", {config_.n_routed_experts}});
    }
    for (int64_t e = 0; e < config_.n_routed_experts; ++e) {
      feed_forward(prefix + "experts." + std::to_string(e) + ".", config_.moe_intermediate_size);
    }
    if (config_.n_shared_experts > 0) {
      feed_forward(prefix + "shared_experts.",
                   config_.n_shared_experts * config_.moe_intermediate_size);
    }
  }

  const config::ModelConfig& config_;
  std::vector<PublishedTensor> tensors_;
};

}  // namespace

int64_t PublishedTensor::numel() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::vector<PublishedTensor> published_tensors(const config::ModelConfig& config) {
  return Lister(config).list();
}

std::optional<int64_t> layer_of(const std::string& name) {
  const std::string before = ".layers.";
  const size_t found = name.find(before);
  if (found == std::string::npos) return std::nullopt;
  return std::atoll(name.c_str() + found + before.size());
}

bool is_correction_bias(const std::string& name) {
  return name.ends_with(".gate.e_score_correction_bias");
}

bool is_routed_expert(const std::string& name) {
  return name.find(".mlp.experts.") != std::string::npos;
}

}  // namespace dsmoe::nn
