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
  const auto behind = [this, sequences, dropping](const at::Tensor& attended_NM,
                                                  const RoutingRecord* earlier) {
    return feed_forward(attended_NM, sequences, dropping, earlier);
  };
  const auto whole = [this, rope, sequences, behind](const at::Tensor& rows,
                                                     const RoutingRecord* earlier) {
    return behind(attend(rows, rope, sequences), earlier);
  };
  if (!will_turn_back(h_NM)) return whole(h_NM, nullptr);
  if (recompute_.layer) return run_recomputed(whole, h_NM);
  if (recompute_.moe && moe_) return run_recomputed(behind, attend(h_NM, rope, sequences));
  return whole(h_NM, nullptr);
}

bool BlockImpl::will_turn_back(const at::Tensor& h_NM) const {
  if (!at::GradMode::is_enabled()) return false;
  if (h_NM.requires_grad()) return true;
  const auto parameters = this->parameters();
  return std::any_of(parameters.begin(), parameters.end(),
                     [](const at::Tensor& p) { return p.requires_grad(); });
}

at::Tensor BlockImpl::attend(const at::Tensor& h_NM, const RopeTable& rope,
                             const SequenceInfo& sequences) {
  const RemadePtr normed = input_layernorm_->again(h_NM, recompute_.norms);
  return h_NM + self_attn_->forward(input_layernorm_(h_NM), sequences, rope, normed);
}

BlockOutput BlockImpl::feed_forward(const at::Tensor& attended_NM, const SequenceInfo& sequences,
                                    bool dropping, const RoutingRecord* earlier) {
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
