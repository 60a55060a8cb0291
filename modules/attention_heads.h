#pragma once

#include <ATen/core/Tensor.h>

#include "configs/model_config.h"
#include "modules/rope.h"

namespace dsmoe::nn {

/// Queries, keys and values as SDPA takes them: [B, H, T, d_h + d_h^R] each, the value padded with
/// zeros to that width, so that the fused kernel applies and no T x T matrix is held.
struct AttentionHeads {
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
};

/// V2 (14)-(17): splits the projections into heads, rotates the decoupled parts in pairs
/// (2i, 2i+1), and joins q = [q^C; q^R], k = [k^C; k^R] with one k^R for all heads.
/// q_NX: N x H(d_h + d_h^R), nope first in each head; kv_NX: N x H(d_h + d_v), key first in each
/// head; rope_key_NR: N x d_h^R. N = B * T, positions 0..T-1 in each sequence. Local,
/// differentiable in the three projections.
[[nodiscard]] AttentionHeads make_heads(const at::Tensor& q_NX, const at::Tensor& kv_NX,
                                        const at::Tensor& rope_key_NR, int64_t batch,
                                        const RopeTable& rope, const config::ModelConfig& config);

}  // namespace dsmoe::nn
