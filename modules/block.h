#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <optional>

#include "modules/attention.h"
#include "modules/moe.h"
#include "modules/rms_norm.h"

namespace dsmoe::nn {

struct BlockOutput {
  at::Tensor h_NM;
  std::optional<RoutingRecord> record;  ///< of a MoE layer
};

/// One transformer layer, pre-norm: h += attention(norm(h)); h += ffn(norm(h)).
class BlockImpl final : public torch::nn::Module {
 public:
  BlockImpl(const config::ModelConfig& config, int64_t layer, const MoeContext& context);

  /// sequences.segments: those of h_NM's rows. Collective over ep in a MoE layer, else Local.
  BlockOutput forward(const at::Tensor& h_NM, const RopeTable& rope, const SequenceInfo& sequences,
                      bool dropping);

  /// The same for sequences that go on from their caches; nothing is dropped. No gradient.
  at::Tensor extend(const at::Tensor& h_NM, std::span<const Continuation> parts,
                    const RopeTable& rope);

 private:
  at::Tensor attend(const at::Tensor& h_NM, const RopeTable& rope, const SequenceInfo& sequences);
  /// earlier: see MoeImpl::forward.
  BlockOutput feed_forward(const at::Tensor& attended_NM, const SequenceInfo& sequences,
                           bool dropping, const RoutingRecord* earlier);
  /// Whether a backward pass will come.
  [[nodiscard]] bool will_turn_back(const at::Tensor& h_NM) const;

  int64_t layer_;
  Recompute recompute_;
  RmsNorm input_layernorm_{nullptr};
  RmsNorm post_attention_layernorm_{nullptr};
  std::shared_ptr<Attention> self_attn_;
  SwigluMlp dense_{nullptr};
  Moe moe_{nullptr};
};
TORCH_MODULE(Block);

}  // namespace dsmoe::nn
