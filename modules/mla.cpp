#include "modules/mla.h"

#include "modules/absorbed_attention.h"
#include "modules/latent_attention.h"
#include "modules/linear.h"

namespace dsmoe::nn {
namespace {

/// The angles of the rows that go on, [N, R/2]: each sequence from where its cache ends.
RopeTable angles_of(std::span<const Continuation> parts, const RopeTable& rope) {
  std::vector<at::Tensor> cos, sin;
  for (const Continuation& part : parts) {
    cos.push_back(rope.cos_TR.narrow(0, part.cache->length(), part.rows));
    sin.push_back(rope.sin_TR.narrow(0, part.cache->length(), part.rows));
  }
  return {at::cat(cos), at::cat(sin)};
}

/// Writes the rows' latents and rotated keys behind what each cache has of the layer.
std::vector<CachedSequence> remember(const at::Tensor& latent_NC, const at::Tensor& rotated_NR,
                                     int64_t layer, std::span<const Continuation> parts) {
  std::vector<CachedSequence> cached;
  int64_t row = 0;
  for (const Continuation& part : parts) {
    const int64_t end = part.cache->length() + part.rows;
    const at::Tensor all_SX = part.cache->rows(layer, end);
    at::Tensor added_NX = all_SX.narrow(0, part.cache->length(), part.rows);
    added_NX.narrow(1, 0, latent_NC.size(1)).copy_(latent_NC.narrow(0, row, part.rows));
    added_NX.narrow(1, latent_NC.size(1), rotated_NR.size(1))
        .copy_(rotated_NR.narrow(0, row, part.rows));
    cached.push_back({all_SX, part.rows});
    row += part.rows;
  }
  return cached;
}

bool all_begin(std::span<const Continuation> parts) {
  return std::all_of(parts.begin(), parts.end(),
                     [](const Continuation& part) { return part.cache->length() == 0; });
}

}  // namespace

MultiHeadLatentAttentionImpl::MultiHeadLatentAttentionImpl(const config::ModelConfig& config)
    : config_(config) {
  const int64_t width = config.num_attention_heads * config.qk_head_dim();
  const auto weight = [&](const char* name, int64_t out, int64_t in) {
    return register_parameter(name, at::empty({out, in}));
  };
  if (config.q_lora_rank) {
    q_a_proj_ = weight("q_a_proj", *config.q_lora_rank, config.hidden_size);
    q_a_layernorm_ =
        register_module("q_a_layernorm", RmsNorm(*config.q_lora_rank, config.rms_norm_eps));
    q_b_proj_ = weight("q_b_proj", width, *config.q_lora_rank);
  } else {
    q_proj_ = weight("q_proj", width, config.hidden_size);
  }
  kv_a_proj_with_mqa_ = weight("kv_a_proj_with_mqa", config.kv_lora_rank + config.qk_rope_head_dim,
                               config.hidden_size);
  kv_a_layernorm_ =
      register_module("kv_a_layernorm", RmsNorm(config.kv_lora_rank, config.rms_norm_eps));
  kv_b_proj_ = weight("kv_b_proj",
                      config.num_attention_heads * (config.qk_nope_head_dim + config.v_head_dim),
                      config.kv_lora_rank);
  o_proj_ = weight("o_proj", config.hidden_size, config.num_attention_heads * config.v_head_dim);
}

at::Tensor MultiHeadLatentAttentionImpl::query(const at::Tensor& h_NM) {
  if (!config_.q_lora_rank) return nn::linear(h_NM, q_proj_);
  const at::Tensor latent_NQ = nn::linear(h_NM, q_a_proj_);  // (12)
  return nn::linear(q_a_layernorm_(latent_NQ), q_b_proj_);   // (13)
}

at::Tensor MultiHeadLatentAttentionImpl::forward(const at::Tensor& h_NM, const Segments& segments,
                                                 const RopeTable& rope) {
  if (h_NM.size(0) == 0) return h_NM;
  const auto down = nn::linear(h_NM, kv_a_proj_with_mqa_)
                        .split_with_sizes({config_.kv_lora_rank, config_.qk_rope_head_dim}, 1);
  const at::Tensor& latent_NC = down[0];  // (9)
  // One product makes the keys k^C = W^UK c^KV  (10)
  // and the values v^C = W^UV c^KV, head by head  (11)
  const at::Tensor kv_NX = nn::linear(kv_a_layernorm_(latent_NC), kv_b_proj_);
  const at::Tensor out_NX = latent_attention(query(h_NM), kv_NX, down[1], segments, rope, config_);
  return nn::linear(out_NX, o_proj_);  // (19)
}

at::Tensor MultiHeadLatentAttentionImpl::attend_fresh(const at::Tensor& query_NX,
                                                      const at::Tensor& latent_NC,
                                                      const at::Tensor& key_NR,
                                                      std::span<const Continuation> parts,
                                                      const RopeTable& rope) {
  const at::Tensor kv_NX = nn::linear(latent_NC, kv_b_proj_);
  std::vector<int64_t> starts{0};
  for (const Continuation& part : parts) starts.push_back(starts.back() + part.rows);
  return latent_attention(query_NX, kv_NX, key_NR, Segments(starts), rope, config_);
}

at::Tensor MultiHeadLatentAttentionImpl::extend(const at::Tensor& h_NM, int64_t layer,
                                                std::span<const Continuation> parts,
                                                const RopeTable& rope) {
  if (h_NM.size(0) == 0) return h_NM;
  const auto down = nn::linear(h_NM, kv_a_proj_with_mqa_)
                        .split_with_sizes({config_.kv_lora_rank, config_.qk_rope_head_dim}, 1);
  const at::Tensor latent_NC = kv_a_layernorm_(down[0].contiguous());
  const at::Tensor query_NX = query(h_NM);
  const RopeTable angles = angles_of(parts, rope);
  const auto cached =
      remember(latent_NC, rotate(down[1], angles.cos_TR, angles.sin_TR), layer, parts);
  if (all_begin(parts)) {
    return nn::linear(attend_fresh(query_NX, latent_NC, down[1], parts, rope), o_proj_);
  }
  at::Tensor turned_NHX = query_NX.view({h_NM.size(0), config_.num_attention_heads, -1}).clone();
  at::Tensor tail_NHR = turned_NHX.narrow(2, config_.qk_nope_head_dim, config_.qk_rope_head_dim);
  tail_NHR.copy_(rotate(tail_NHR, angles.cos_TR.unsqueeze(1), angles.sin_TR.unsqueeze(1)));
  return nn::linear(absorbed_attention(turned_NHX.flatten(1), cached, kv_b_proj_, config_),
                    o_proj_);
}

}  // namespace dsmoe::nn
