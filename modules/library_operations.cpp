#include "modules/library_operations.h"

#include <ATen/ATen.h>

#include "modules/cached_attention.h"

namespace dsmoe::nn::library {
namespace {

/// Turns the pairs of x [S, T, heads, R] by the angles of their positions; differentiable.
at::Tensor turn(const at::Tensor& x, const RopeTable& rope) {
  const int64_t positions = x.size(1);
  const at::Tensor cos = rope.cos_TR.narrow(0, 0, positions).unsqueeze(1);
  const at::Tensor sin = rope.sin_TR.narrow(0, 0, positions).unsqueeze(1);
  const at::Tensor pairs = x.to(cos.scalar_type()).unflatten(-1, {-1, 2});
  const at::Tensor a = pairs.select(-1, 0), b = pairs.select(-1, 1);
  return at::stack({a * cos - b * sin, b * cos + a * sin}, -1).flatten(-2).to(x.scalar_type());
}

/// Each of the heads that share one, [S, T, shared, width] -> [S, T, heads, width].
at::Tensor spread(const at::Tensor& x, int64_t heads) {
  return x.repeat_interleave(heads / x.size(2), 2);
}

/// Of S segments of T rows each.
at::Tensor attend(const at::Tensor& q_NX, const at::Tensor& kv_NX, const at::Tensor& rope_key_NX,
                  int64_t length, const RopeTable& rope, const HeadWidths& w) {
  const at::Tensor q = q_NX.view({-1, length, w.heads, w.nope + w.rope});
  const at::Tensor kv = kv_NX.view({-1, length, w.key_value_heads, w.nope + w.value});
  const at::Tensor rope_key = rope_key_NX.view({-1, length, w.rope_key_heads, w.rope});
  const auto q_parts = q.split_with_sizes({w.nope, w.rope}, 3);
  const auto kv_parts = kv.split_with_sizes({w.nope, w.value}, 3);
  const at::Tensor query = at::cat({q_parts[0], turn(q_parts[1], rope)}, 3);
  const at::Tensor key =
      at::cat({spread(kv_parts[0], w.heads), spread(turn(rope_key, rope), w.heads)}, 3);
  const at::Tensor value = spread(kv_parts[1], w.heads);
  const at::Tensor out = at::scaled_dot_product_attention(
      query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), /*attn_mask=*/{},
      /*dropout_p=*/0.0, /*is_causal=*/true, w.scale);
  return out.transpose(1, 2).reshape({q_NX.size(0), w.heads * w.value});
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x_NM, const at::Tensor& weight_M, at::Tensor& rstd_N,
                    double eps) {
  const auto type = precise_type(x_NM);
  const at::Tensor x = x_NM.to(type);
  rstd_N = (x.square().mean(1) + eps).rsqrt();
  return (x * rstd_N.unsqueeze(1) * weight_M.to(type)).to(x_NM.scalar_type());
}

at::Tensor rms_norm_backward(const at::Tensor& dy_NM, const at::Tensor& x_NM,
                             const at::Tensor& weight_M, const at::Tensor& rstd_N,
                             at::Tensor& gradient_M) {
  const auto type = precise_type(x_NM);
  const at::Tensor normed = x_NM.to(type) * rstd_N.unsqueeze(1);
  const at::Tensor dy = dy_NM.to(type);
  gradient_M.add_((dy * normed).sum(0));
  const at::Tensor pull = dy * weight_M.to(type);
  const at::Tensor along = (pull * normed).mean(1, /*keepdim=*/true);
  return (rstd_N.unsqueeze(1) * (pull - normed * along)).to(x_NM.scalar_type());
}

at::Tensor swiglu(const at::Tensor& h_NX, const at::Tensor& scale_N) {
  const auto parts = h_NX.to(precise_type(h_NX)).chunk(2, 1);
  at::Tensor out = at::silu(parts[0]) * parts[1];
  if (scale_N.defined()) out = out * scale_N.unsqueeze(1);
  return out.to(h_NX.scalar_type());
}

SwigluGradient swiglu_backward(const at::Tensor& dout_NF, const at::Tensor& h_NX,
                               const at::Tensor& scale_N) {
  const auto type = precise_type(h_NX);
  const auto parts = h_NX.to(type).chunk(2, 1);
  const at::Tensor &gate = parts[0], &up = parts[1];
  const at::Tensor sigmoid = at::sigmoid(gate), activation = gate * sigmoid;
  at::Tensor d = dout_NF.to(type);
  SwigluGradient result;
  if (scale_N.defined()) {
    result.dscale_N = (d * activation * up).sum(1);
    d = d * scale_N.unsqueeze(1);
  }
  result.dh_NX = at::cat({d * up * sigmoid * (1 + gate - activation), d * activation}, 1)
                     .to(h_NX.scalar_type());
  return result;
}

at::Tensor sum_pairs(const at::Tensor& pairs_PM, const at::Tensor& pair_rows_P, int64_t rows) {
  const at::Tensor precise = pairs_PM.to(precise_type(pairs_PM));
  return at::zeros({rows, pairs_PM.size(1)}, precise.options())
      .index_add_(0, pair_rows_P, precise)
      .to(pairs_PM.scalar_type());
}

at::Tensor softmax_loss(at::Tensor& logits_CV, const at::Tensor& targets_C) {
  const at::Tensor counts_C1 = targets_C.ge(0).unsqueeze(1);
  const at::Tensor target_C1 = targets_C.clamp_min(0).unsqueeze(1);
  at::Tensor log_p = at::log_softmax(logits_CV, 1, precise_type(logits_CV));
  const at::Tensor losses = -log_p.gather(1, target_C1).to(at::kDouble) * counts_C1;
  at::Tensor gradient = log_p.exp_();
  gradient.scatter_add_(1, target_C1, at::full_like(target_C1, -1, gradient.scalar_type()));
  logits_CV.copy_(gradient.mul_(counts_C1));
  return losses.squeeze(1);
}

at::Tensor causal_attention(const at::Tensor& q_NX, const at::Tensor& kv_NX,
                            const at::Tensor& rope_key_NX, const Segments& segments,
                            const RopeTable& rope, const HeadWidths& widths) {
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < segments.count();) {
    int64_t end = first + 1;
    while (end < segments.count() && segments.length(end) == segments.length(first)) ++end;
    const int64_t row = segments.start(first), rows = segments.start(end) - row;
    parts.push_back(attend(q_NX.narrow(0, row, rows), kv_NX.narrow(0, row, rows),
                           rope_key_NX.narrow(0, row, rows), segments.length(first), rope, widths));
    first = end;
  }
  if (parts.empty()) return q_NX.new_zeros({0, widths.heads * widths.value});
  return parts.size() == 1 ? parts.front() : at::cat(parts);
}

}  // namespace dsmoe::nn::library
