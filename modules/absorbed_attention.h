#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "configs/model_config.h"
#include "modules/cached_attention.h"

namespace dsmoe::nn {

/// V2 (14)-(18) with W^UK absorbed into the queries and W^UV into the output (V2 section 2.1.2):
/// the heads attend over the latents themselves, as multi-query attention of key width d_c + d_h^R
/// and value width d_c. Equal to causal_attention() up to rounding; fit for few rows over a long
/// cache [S, d_c + d_h^R]. q_NX: N x H(d_h + d_h^R), rotated already, the sequences' rows one after
/// the other; kv_b_proj: H(d_h + d_v) x d_c. Returns N x H d_v. Computes in float32, or float64 for
/// float64. Local, no gradient.
[[nodiscard]] at::Tensor absorbed_attention(const at::Tensor& q_NX,
                                            std::span<const CachedSequence> sequences,
                                            const at::Tensor& kv_b_proj,
                                            const config::ModelConfig& config);

}  // namespace dsmoe::nn
