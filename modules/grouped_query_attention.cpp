#include "modules/grouped_query_attention.h"

#include "modules/causal_attention.h"
#include "modules/continuation.h"

namespace dsmoe::nn {

GroupedQueryAttentionImpl::GroupedQueryAttentionImpl(const config::ModelConfig& config)
    : config_(config) {
  const auto weight = [&](const char* name, int64_t out, int64_t in) {
    return register_module(name, LinearLayer(out, in));
  };
  const int64_t heads = config.num_attention_heads;
  const int64_t groups = config.key_value_heads();
  q_proj_ = weight("q_proj", heads * config.qk_head_dim(), config.hidden_size);
  k_proj_ = weight("k_proj", groups * config.qk_head_dim(), config.hidden_size);
  v_proj_ = weight("v_proj", groups * config.v_head_dim, config.hidden_size);
  o_proj_ = weight("o_proj", config.hidden_size, heads * config.v_head_dim);
}

at::Tensor GroupedQueryAttentionImpl::attend_fresh(const at::Tensor& query_NX,
                                                   const at::Tensor& key_NX,
                                                   const at::Tensor& value_NX,
                                                   const Segments& segments,
                                                   const RopeTable& rope) {
  const std::vector<int64_t> heads{config_.key_value_heads(), -1};
  const auto key = key_NX.unflatten(1, heads).split_with_sizes(
      {config_.qk_nope_head_dim, config_.qk_rope_head_dim}, 2);
  const at::Tensor kv_NX = at::cat({key[0], value_NX.unflatten(1, heads)}, 2).flatten(1);
  return causal_attention(query_NX, kv_NX, key[1].flatten(1), segments, rope, config_);  // (4)-(7)
}

at::Tensor GroupedQueryAttentionImpl::forward(const at::Tensor& h_NM, const SequenceInfo& sequences,
                                              const RopeTable& rope, const RemadePtr& again) {
  const std::span<const uint64_t> keys = sequences.row_keys;
  const at::Tensor query_NX = q_proj_->forward(h_NM, keys, again);                           // (1)
  const at::Tensor key_NX = k_proj_->forward(h_NM, keys, again);                             // (2)
  const at::Tensor value_NX = v_proj_->forward(h_NM, keys, again);                           // (3)
  return o_proj_(attend_fresh(query_NX, key_NX, value_NX, sequences.segments, rope), keys);  // (8)
}

at::Tensor GroupedQueryAttentionImpl::attend_cached(const at::Tensor& query_NX,
                                                    const CachedSequence& sequence) {
  const auto type = precise_type(query_NX);
  const int64_t groups = config_.key_value_heads();
  const auto heads_of = [&](const at::Tensor& rows, int64_t heads) {
    return rows.to(type).unflatten(1, {heads, -1}).transpose(0, 1);
  };
  const auto parts = sequence.cache_SX.split_with_sizes(
      {groups * config_.qk_head_dim(), groups * config_.v_head_dim}, 1);
  return attend_to_cache(heads_of(query_NX, config_.num_attention_heads),
                         heads_of(parts[0], groups), heads_of(parts[1], groups),
                         softmax_scale(config_))
      .transpose(0, 1)
      .flatten(1);
}

at::Tensor GroupedQueryAttentionImpl::extend(const at::Tensor& h_NM, int64_t layer,
                                             std::span<const Continuation> parts,
                                             const RopeTable& rope) {
  if (h_NM.size(0) == 0) return h_NM;
  const at::Tensor query_NX = q_proj_(h_NM);
  const at::Tensor key_NX = k_proj_(h_NM);
  const at::Tensor value_NX = v_proj_(h_NM);
  const RopeTable angles = angles_of(parts, rope);
  const auto cached =
      remember(at::cat({rotate_tails(key_NX, angles, config_), value_NX}, 1), layer, parts);
  if (all_begin(parts)) {
    return o_proj_(attend_fresh(query_NX, key_NX, value_NX, segments_of(parts), rope));
  }
  const at::Tensor turned_NX = rotate_tails(query_NX, angles, config_);
  std::vector<at::Tensor> rows;
  int64_t row = 0;
  for (const CachedSequence& sequence : cached) {
    rows.push_back(attend_cached(turned_NX.narrow(0, row, sequence.rows), sequence));
    row += sequence.rows;
  }
  return o_proj_(at::cat(rows).to(h_NM.scalar_type()));
}

}  // namespace dsmoe::nn
