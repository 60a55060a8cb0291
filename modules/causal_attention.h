#pragma once

#include <ATen/core/Tensor.h>

#include "configs/model_config.h"
#include "modules/recompute.h"
#include "modules/rope.h"
#include "modules/segments.h"

namespace dsmoe::nn {

/// How a backward pass makes queries, and keys with values, instead of keeping them.
struct AttentionInputs {
  RemadePtr q_NX{};
  RemadePtr kv_NX{};
};

/// V2 (14)-(18): rotates the decoupled queries and keys, joins q = [q^C; q^R] and k = [k^C; k^R],
/// and attends causally within each segment, without copies of the heads and without a T x T
/// matrix: time grows with the sum of squared lengths. H heads; G heads of keys and values, of
/// which each serves H/G consecutive ones; G' heads of decoupled keys: 1 under MLA, else G.
/// q_NX: N x H(d_h + d_h^R), nope first in each head; kv_NX: N x G(d_h + d_v), key first in each
/// head; rope_key_NX: N x G' d_h^R. Positions count from 0 in each segment. Returns N x H d_v in
/// the dtype of the inputs; computes in float32, or float64 for float64. Local,
/// differentiable in the three projections; threads share out heads and segments.
[[nodiscard]] at::Tensor causal_attention(const at::Tensor& q_NX, const at::Tensor& kv_NX,
                                          const at::Tensor& rope_key_NX, const Segments& segments,
                                          const RopeTable& rope, const config::ModelConfig& config,
                                          const AttentionInputs& again = {});

}  // namespace dsmoe::nn
