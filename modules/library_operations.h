#pragma once

#include <ATen/core/Tensor.h>

#include "modules/rope.h"
#include "modules/segments.h"

/// What modules/kernels computes on the host, by operations of LibTorch, for tensors on a device.
/// The same equations and types: bfloat16 is computed in float32. Sums may be taken in another
/// order, on CUDA from run to run. Local; no gradient unless said.
namespace dsmoe::nn::library {

/// y = x / rms(x) * weight; rstd_N becomes 1 / rms(x).
[[nodiscard]] at::Tensor rms_norm(const at::Tensor& x_NM, const at::Tensor& weight_M,
                                  at::Tensor& rstd_N, double eps);
/// Returns dx; adds to gradient_M.
[[nodiscard]] at::Tensor rms_norm_backward(const at::Tensor& dy_NM, const at::Tensor& x_NM,
                                           const at::Tensor& weight_M, const at::Tensor& rstd_N,
                                           at::Tensor& gradient_M);

/// scale * silu(gate) * up; scale_N undefined: 1.
[[nodiscard]] at::Tensor swiglu(const at::Tensor& h_NX, const at::Tensor& scale_N);
struct SwigluGradient {
  at::Tensor dh_NX;
  at::Tensor dscale_N;  ///< undefined without a scale
};
[[nodiscard]] SwigluGradient swiglu_backward(const at::Tensor& dout_NF, const at::Tensor& h_NX,
                                             const at::Tensor& scale_N);

/// Each row's sum over its pairs; zero where there is none.
[[nodiscard]] at::Tensor sum_pairs(const at::Tensor& pairs_PM, const at::Tensor& pair_rows_P,
                                   int64_t rows);

/// Turns logits into softmax - onehot in place, zeros where the target is negative; returns the
/// losses, float64.
[[nodiscard]] at::Tensor softmax_loss(at::Tensor& logits_CV, const at::Tensor& targets_C);

/// The widths of causal_attention; see there.
struct HeadWidths {
  int64_t heads, key_value_heads, rope_key_heads, nope, rope, value;
  double scale;
};
/// As causal_attention, in runs of equally long segments. Differentiable by LibTorch itself, which
/// keeps queries, keys and values for it.
[[nodiscard]] at::Tensor causal_attention(const at::Tensor& q_NX, const at::Tensor& kv_NX,
                                          const at::Tensor& rope_key_NX, const Segments& segments,
                                          const RopeTable& rope, const HeadWidths& widths);

}  // namespace dsmoe::nn::library
