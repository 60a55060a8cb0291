#include "modules/absorbed_attention.h"

#include "modules/rope.h"

namespace dsmoe::nn {

at::Tensor absorbed_attention(const at::Tensor& q_NX, std::span<const CachedSequence> sequences,
                              const at::Tensor& kv_b_proj, const config::ModelConfig& config) {
  const int64_t heads = config.num_attention_heads;
  const int64_t nope = config.qk_nope_head_dim;
  const auto type = precise_type(q_NX);
  const at::Tensor up_HXC = kv_b_proj.view({heads, nope + config.v_head_dim, config.kv_lora_rank});
  const at::Tensor q_HNX = q_NX.view({-1, heads, config.qk_head_dim()}).transpose(0, 1);
  const at::Tensor absorbed_HNC =
      at::bmm(q_HNX.narrow(2, 0, nope), up_HXC.narrow(1, 0, nope)).to(type);
  const at::Tensor query_HNX =
      at::cat({absorbed_HNC, q_HNX.narrow(2, nope, config.qk_rope_head_dim).to(type)}, 2);
  std::vector<at::Tensor> latents;
  int64_t row = 0;
  for (const CachedSequence& sequence : sequences) {
    const at::Tensor keys_1SX = sequence.cache_SX.to(type).unsqueeze(0);
    latents.push_back(attend_to_cache(query_HNX.narrow(1, row, sequence.rows), keys_1SX,
                                      keys_1SX.narrow(2, 0, config.kv_lora_rank),
                                      softmax_scale(config)));
    row += sequence.rows;
  }
  const at::Tensor latent_HNC = at::cat(latents, 1).to(q_NX.scalar_type());
  const at::Tensor value_HCV = up_HXC.narrow(1, nope, config.v_head_dim).transpose(1, 2);
  return at::bmm(latent_HNC, value_HCV).transpose(0, 1).reshape({q_NX.size(0), -1});
}

}  // namespace dsmoe::nn
