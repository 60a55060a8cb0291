#include "modules/block.h"

#include <algorithm>

#include "modules/recomputed_block.h"

namespace dsmoe::nn {

BlockImpl::BlockImpl(const config::ModelConfig& config, int64_t layer, const MoeContext& context)
    : layer_(layer),
      recompute_(context.recompute),
      input_layernorm_(
          register_module("input_layernorm", RmsNorm(config.hidden_size, config.rms_norm_eps))),
      post_attention_layernorm_(register_module("post_attention_layernorm",
                                                RmsNorm(config.hidden_size, config.rms_norm_eps))),
      self_attn_(register_module("self_attn", make_attention(config, context.recompute))) {
  if (config.is_moe_layer(layer)) {
    moe_ = register_module("mlp", Moe(config, layer, context));
  } else {
    dense_ = register_module(
        "mlp", SwigluMlp(config.hidden_size, config.intermediate_size, context.recompute));
  }
}

BlockOutput BlockImpl::forward(const at::Tensor& h_NM, const RopeTable& rope,
                               const SequenceInfo& sequences, bool dropping) {
  if (!recomputes(h_NM)) return run(h_NM, rope, sequences, dropping, nullptr);
  return run_recomputed(
      [this, rope, sequences, dropping](const at::Tensor& rows, const RoutingRecord* earlier) {
        return run(rows, rope, sequences, dropping, earlier);
      },
      h_NM);
}

bool BlockImpl::recomputes(const at::Tensor& h_NM) const {
  if (!recompute_.layer || !at::GradMode::is_enabled()) return false;
  if (h_NM.requires_grad()) return true;
  const auto parameters = this->parameters();
  return std::any_of(parameters.begin(), parameters.end(),
                     [](const at::Tensor& p) { return p.requires_grad(); });
}

BlockOutput BlockImpl::run(const at::Tensor& h_NM, const RopeTable& rope,
                           const SequenceInfo& sequences, bool dropping,
                           const RoutingRecord* earlier) {
  const RemadePtr normed = input_layernorm_->again(h_NM, recompute_.norms);
  const at::Tensor attended_NM =
      h_NM + self_attn_->forward(input_layernorm_(h_NM), sequences, rope, normed);
  const at::Tensor u_NM = post_attention_layernorm_(attended_NM);
  if (dense_) {
    const RemadePtr again = post_attention_layernorm_->again(attended_NM, recompute_.norms);
    return {attended_NM + dense_->forward(u_NM, again), std::nullopt};
  }
  MoeOutput out = moe_->forward(u_NM, sequences, dropping, earlier);
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
