#include "modules/block.h"

namespace dsmoe::nn {

BlockImpl::BlockImpl(const config::ModelConfig& config, int64_t layer, const MoeContext& context)
    : layer_(layer),
      input_layernorm_(
          register_module("input_layernorm", RmsNorm(config.hidden_size, config.rms_norm_eps))),
      post_attention_layernorm_(register_module("post_attention_layernorm",
                                                RmsNorm(config.hidden_size, config.rms_norm_eps))),
      self_attn_(register_module("self_attn", make_attention(config))) {
  if (config.is_moe_layer(layer)) {
    moe_ = register_module("mlp", Moe(config, layer, context));
  } else {
    dense_ = register_module("mlp", SwigluMlp(config.hidden_size, config.intermediate_size));
  }
}

BlockOutput BlockImpl::forward(const at::Tensor& h_NM, const RopeTable& rope,
                               const SequenceInfo& sequences, bool dropping) {
  const at::Tensor attended_NM =
      h_NM + self_attn_->forward(input_layernorm_(h_NM), sequences, rope);
  const at::Tensor u_NM = post_attention_layernorm_(attended_NM);
  if (dense_) return {attended_NM + dense_(u_NM), std::nullopt};
  MoeOutput out = moe_(u_NM, sequences, dropping);
  return {attended_NM + out.y_NM, std::move(out.record)};
}

at::Tensor BlockImpl::extend(const at::Tensor& h_NM, std::span<const Continuation> parts,
                             const RopeTable& rope) {
  const at::Tensor attended_NM =
      h_NM + self_attn_->extend(input_layernorm_(h_NM), layer_, parts, rope);
  const at::Tensor u_NM = post_attention_layernorm_(attended_NM);
  return attended_NM +
         (dense_ ? dense_(u_NM) : moe_(u_NM, SequenceInfo{}, /*dropping=*/false).y_NM);
}

}  // namespace dsmoe::nn
