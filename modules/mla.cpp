#include "modules/mla.h"

#include "modules/absorbed_attention.h"
#include "modules/causal_attention.h"
#include "modules/continuation.h"

namespace dsmoe::nn {

MultiHeadLatentAttentionImpl::MultiHeadLatentAttentionImpl(const config::ModelConfig& config,
                                                           const Recompute& recompute)
    : config_(config), recompute_(recompute) {
  const int64_t width = config.num_attention_heads * config.qk_head_dim();
  const auto weight = [&](const char* name, int64_t out, int64_t in) {
    return register_module(name, LinearLayer(out, in));
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

MultiHeadLatentAttentionImpl::Product MultiHeadLatentAttentionImpl::product(
    LinearLayer& projection, const at::Tensor& x_NI, const std::vector<uint64_t>& row_keys,
    const RemadePtr& again) {
  return {projection->forward(x_NI, row_keys, again),
          remade_if(recompute_.mla_up, [again, kept = again ? at::Tensor() : x_NI.detach(),
                                        row_keys, projection]() mutable {
            return projection->forward(kept_or_made(kept, again), row_keys);
          })};
}

MultiHeadLatentAttentionImpl::Product MultiHeadLatentAttentionImpl::up(
    RmsNorm& norm, LinearLayer& projection, const at::Tensor& latent_NC,
    const std::vector<uint64_t>& row_keys) {
  const at::Tensor latent = latent_NC.contiguous();
  return product(projection, norm(latent), row_keys, norm->again(latent, recompute_.norms));
}

MultiHeadLatentAttentionImpl::Product MultiHeadLatentAttentionImpl::query(
    const at::Tensor& h_NM, const std::vector<uint64_t>& row_keys, const RemadePtr& again) {
  if (!config_.q_lora_rank) return product(q_proj_, h_NM, row_keys, again);
  const at::Tensor latent_NQ = q_a_proj_->forward(h_NM, row_keys, again);  // (12)
  return up(q_a_layernorm_, q_b_proj_, latent_NQ, row_keys);               // (13)
}

at::Tensor MultiHeadLatentAttentionImpl::forward(const at::Tensor& h_NM,
                                                 const SequenceInfo& sequences,
                                                 const RopeTable& rope, const RemadePtr& again) {
  const std::vector<uint64_t>& keys = sequences.row_keys;
  const auto down = kv_a_proj_with_mqa_->forward(h_NM, keys, again)
                        .split_with_sizes({config_.kv_lora_rank, config_.qk_rope_head_dim}, 1);
  const at::Tensor& latent_NC = down[0];  // (9)
  // One product makes the keys k^C = W^UK c^KV  (10)
  // and the values v^C = W^UV c^KV, head by head  (11)
  const Product kv = up(kv_a_layernorm_, kv_b_proj_, latent_NC, keys);
  const Product q = query(h_NM, keys, again);
  const at::Tensor out_NX = causal_attention(q.y_NX, kv.y_NX, down[1], sequences.segments, rope,
                                             config_, {q.again, kv.again});
  return o_proj_(out_NX, keys);  // (19)
}

at::Tensor MultiHeadLatentAttentionImpl::extend(const at::Tensor& h_NM, int64_t layer,
                                                std::span<const Continuation> parts,
                                                const RopeTable& rope) {
  if (h_NM.size(0) == 0) return h_NM;
  const auto down = kv_a_proj_with_mqa_(h_NM).split_with_sizes(
      {config_.kv_lora_rank, config_.qk_rope_head_dim}, 1);
  const at::Tensor latent_NC = kv_a_layernorm_(down[0].contiguous());
  const RopeTable angles = angles_of(parts, rope);
  const auto cached = remember(
      at::cat({latent_NC, rotate(down[1], angles.cos_TR, angles.sin_TR)}, 1), layer, parts);
  const at::Tensor query_NX = query(h_NM).y_NX;
  if (all_begin(parts)) {
    const at::Tensor kv_NX = kv_b_proj_(latent_NC);
    return o_proj_(causal_attention(query_NX, kv_NX, down[1], segments_of(parts), rope, config_));
  }
  const at::Tensor turned_NX = rotate_tails(query_NX, angles, config_);
  return o_proj_(absorbed_attention(turned_NX, cached, kv_b_proj_->weight(), config_));
}

}  // namespace dsmoe::nn
