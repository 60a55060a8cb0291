#pragma once

#include "modules/attention.h"
#include "modules/cached_attention.h"
#include "modules/linear_layer.h"

namespace dsmoe::nn {

/// Multi-head attention, V2 (1)-(8), with as many heads of keys and values as key_value_heads()
/// says: all (MHA), some (GQA) or one (MQA). What V2 compares MLA with. The last qk_rope_head_dim
/// numbers of each query and key head are rotated. What is cached is every head's rotated key, then
/// every head's value. Parameters q_proj, k_proj, v_proj, o_proj, without biases.
class GroupedQueryAttentionImpl final : public Attention {
 public:
  explicit GroupedQueryAttentionImpl(const config::ModelConfig& config);

  at::Tensor forward(const at::Tensor& h_NM, const SequenceInfo& sequences, const RopeTable& rope,
                     const RemadePtr& again = {}) override;
  at::Tensor extend(const at::Tensor& h_NM, int64_t layer, std::span<const Continuation> parts,
                    const RopeTable& rope) override;

 private:
  at::Tensor attend_fresh(const at::Tensor& query_NX, const at::Tensor& key_NX,
                          const at::Tensor& value_NX, const Segments& segments,
                          const RopeTable& rope);
  at::Tensor attend_cached(const at::Tensor& query_NX, const CachedSequence& sequence);

  config::ModelConfig config_;
  LinearLayer q_proj_{nullptr}, k_proj_{nullptr}, v_proj_{nullptr}, o_proj_{nullptr};
};

}  // namespace dsmoe::nn
