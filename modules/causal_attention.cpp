#include "modules/causal_attention.h"

#include <torch/csrc/autograd/autograd.h>

#include <utility>

#include "modules/dispatch_type.h"
#include "modules/kernels/attention_table.h"
#include "modules/kernels/kernel_table.h"
#include "modules/library_operations.h"
#include "modules/own_kernels.h"
#include "modules/row_loop.h"
#include "modules/saved_data.h"

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Shape {
  Segments segments;
  int64_t heads;            // H
  int64_t key_value_heads;  // G
  int64_t rope_key_heads;   // G'
  int64_t nope;
  int64_t rope;
  int64_t value;
  double scale;

  [[nodiscard]] int64_t key() const { return nope + rope; }
  [[nodiscard]] int64_t key_value() const { return nope + value; }
  /// The first number of a head's keys and values within a row.
  [[nodiscard]] int64_t key_value_at(int64_t head) const {
    return head / (heads / key_value_heads) * key_value();
  }
  [[nodiscard]] int64_t rope_key_of(int64_t head) const { return head / (heads / rope_key_heads); }
};

/// What both directions read.
struct Inputs {
  at::Tensor q_NX;
  at::Tensor kv_NX;
  at::Tensor rotated_key_GNR;
  at::Tensor cos_TR;
  at::Tensor sin_TR;
  at::Tensor log_sum_exp_HN;
};

/// Turns the rows of one decoupled key by their positions, in place; sign -1 turns back.  V2 (15)
void rotate_rows(const at::Tensor& rows_NR, const at::Tensor& cos_TR, const at::Tensor& sin_TR,
                 const Segments& segments, int sign) {
  const int64_t width = rows_NR.size(1);
  DSMOE_DISPATCH(rows_NR, [&] {
    using opmath = kernels::opmath_t<scalar_t>;
    auto* rows = rows_NR.mutable_data_ptr<scalar_t>();
    const auto* cos = cos_TR.const_data_ptr<opmath>();
    const auto* sin = sin_TR.const_data_ptr<opmath>();
    for_rows(segments.rows(), width, [&](int64_t begin, int64_t end) {
      int64_t segment = segments.at(begin);
      for (int64_t n = begin; n < end; ++n) {
        while (n >= segments.start(segment + 1)) ++segment;
        const int64_t at = (n - segments.start(segment)) * (width / 2);
        kernels::kernels<scalar_t>().rotate_pairs(rows + n * width, cos + at, sin + at, width / 2,
                                                  static_cast<opmath>(sign));
      }
    });
  });
}

/// The decoupled keys of each of G' heads, rotated.
at::Tensor rotated_keys(const at::Tensor& rope_key_NX, const at::Tensor& cos_TR,
                        const at::Tensor& sin_TR, const Shape& s) {
  at::Tensor keys_GNR = rope_key_NX.view({-1, s.rope_key_heads, s.rope})
                            .transpose(0, 1)
                            .clone(at::MemoryFormat::Contiguous);
  for (int64_t g = 0; g < s.rope_key_heads; ++g) {
    rotate_rows(keys_GNR.select(0, g), cos_TR, sin_TR, s.segments, 1);
  }
  return keys_GNR;
}

template <class T>
kernels::AttentionHead<T> head_of(const Inputs& in, const Shape& s, int64_t head, int64_t segment) {
  using opmath = kernels::opmath_t<T>;
  const int64_t row = s.segments.start(segment);
  const int64_t query_stride = s.heads * s.key();
  const int64_t kv_stride = s.key_value_heads * s.key_value();
  return {
      .length = s.segments.length(segment),
      .nope = s.nope,
      .rope = s.rope,
      .value = s.value,
      .scale = static_cast<opmath>(s.scale),
      .query = in.q_NX.const_data_ptr<T>() + row * query_stride + head * s.key(),
      .query_stride = query_stride,
      .kv = in.kv_NX.const_data_ptr<T>() + row * kv_stride + s.key_value_at(head),
      .kv_stride = kv_stride,
      .rope_key = in.rotated_key_GNR.const_data_ptr<T>() +
                  (s.rope_key_of(head) * s.segments.rows() + row) * s.rope,
      .cos = in.cos_TR.const_data_ptr<opmath>(),
      .sin = in.sin_TR.const_data_ptr<opmath>(),
      .out_stride = s.heads * s.value,
      .log_sum_exp = in.log_sum_exp_HN.mutable_data_ptr<opmath>() + head * s.segments.rows() + row};
}

/// body(head, segment, workspace) for every segment of every head, over the threads: each has
/// whole heads where it can, so that segments of unequal lengths leave none idle.
template <class T, class Body>
void for_heads(const Inputs& in, const Shape& s, const Body& body) {
  const int64_t numbers =
      kernels::attention<T>().workspace_size(s.segments.longest(), s.key(), s.value);
  const int64_t count = s.segments.count();
  at::parallel_for(0, s.heads * count, 1, [&](int64_t begin, int64_t end) {
    const at::Tensor workspace = at::empty({numbers}, in.log_sum_exp_HN.options());
    auto* const memory = workspace.mutable_data_ptr<kernels::opmath_t<T>>();
    for (int64_t i = begin; i < end; ++i) body(i / count, i % count, memory);
  });
}

at::Tensor attend(const Inputs& in, const Shape& s) {
  at::Tensor out_NX = at::empty({in.q_NX.size(0), s.heads * s.value}, in.q_NX.options());
  DSMOE_DISPATCH(in.q_NX, [&] {
    auto* const out = out_NX.mutable_data_ptr<scalar_t>();
    for_heads<scalar_t>(in, s, [&](int64_t head, int64_t segment, auto* workspace) {
      kernels::attention<scalar_t>().forward(
          head_of<scalar_t>(in, s, head, segment),
          out + (s.segments.start(segment) * s.heads + head) * s.value, workspace);
    });
  });
  return out_NX;
}

/// What each head gives, for heads to share keys and values.
struct Gradients {
  at::Tensor dq_NX;
  at::Tensor dkv_NHX;
  at::Tensor drope_key_HNR;  // in the type that kernels compute in
};

Gradients attend_backward(const Inputs& in, const Shape& s, const at::Tensor& out_NX,
                          const at::Tensor& dout_NX) {
  Gradients gradients{at::empty_like(in.q_NX),
                      at::empty({s.segments.rows(), s.heads, s.key_value()}, in.kv_NX.options()),
                      at::empty({s.heads, s.segments.rows(), s.rope}, in.log_sum_exp_HN.options())};
  DSMOE_DISPATCH(in.q_NX, [&] {
    const auto* const out = out_NX.const_data_ptr<scalar_t>();
    const auto* const dout = dout_NX.const_data_ptr<scalar_t>();
    auto* const dq = gradients.dq_NX.mutable_data_ptr<scalar_t>();
    auto* const dkv = gradients.dkv_NHX.mutable_data_ptr<scalar_t>();
    auto* const drope = gradients.drope_key_HNR.mutable_data_ptr<kernels::opmath_t<scalar_t>>();
    for_heads<scalar_t>(in, s, [&](int64_t head, int64_t segment, auto* workspace) {
      const auto view = head_of<scalar_t>(in, s, head, segment);
      const int64_t row = s.segments.start(segment);
      const int64_t out_at = row * view.out_stride + head * s.value;
      kernels::attention<scalar_t>().backward(
          view,
          {.out = out + out_at,
           .dout = dout + out_at,
           .dquery = dq + row * view.query_stride + head * s.key(),
           .dkv = dkv + (row * s.heads + head) * s.key_value(),
           .dkv_stride = s.heads * s.key_value(),
           .drope_key = drope + (head * s.segments.rows() + row) * s.rope},
          workspace);
    });
  });
  return gradients;
}

/// Sums over the heads that share keys and values.
at::Tensor shared_key_values(const at::Tensor& dkv_NHX, const Shape& s) {
  if (s.key_value_heads == s.heads) return dkv_NHX.flatten(1);
  return dkv_NHX.unflatten(1, {s.key_value_heads, -1}).sum(2).flatten(1);
}

/// Sums over the heads that share a decoupled key, and turns it back.
at::Tensor shared_rope_keys(const at::Tensor& drope_key_HNR, const Inputs& in, const Shape& s) {
  const at::Tensor keys_GNR = drope_key_HNR.unflatten(0, {s.rope_key_heads, -1}).sum(1);
  for (int64_t g = 0; g < s.rope_key_heads; ++g) {
    rotate_rows(keys_GNR.select(0, g), in.cos_TR, in.sin_TR, s.segments, -1);
  }
  return keys_GNR.transpose(0, 1).flatten(1);
}

struct CausalAttentionFunction : torch::autograd::Function<CausalAttentionFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q_NX, const at::Tensor& kv_NX,
                            const at::Tensor& rope_key_NX, const at::Tensor& cos_TR,
                            const at::Tensor& sin_TR, const Shape& s, const RemadePtr& q_again,
                            const RemadePtr& kv_again) {
    const Inputs in{q_NX,   kv_NX,  rotated_keys(rope_key_NX, cos_TR, sin_TR, s),
                    cos_TR, sin_TR, at::empty({s.heads, s.segments.rows()}, cos_TR.options())};
    const at::Tensor out_NX = attend(in, s);
    ctx->save_for_backward({q_again ? at::Tensor() : q_NX, kv_again ? at::Tensor() : kv_NX,
                            in.rotated_key_GNR, cos_TR, sin_TR, in.log_sum_exp_HN, out_NX});
    ctx->saved_data["q"] = to_saved(q_again);
    ctx->saved_data["kv"] = to_saved(kv_again);
    ctx->saved_data["starts"] = s.segments.starts();
    ctx->saved_data["widths"] =
        std::vector<int64_t>{s.heads, s.key_value_heads, s.rope_key_heads, s.nope, s.rope, s.value};
    ctx->saved_data["scale"] = s.scale;
    return out_NX;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto w = ctx->saved_data["widths"].toIntVector();
    const Shape s{Segments(ctx->saved_data["starts"].toIntVector()),
                  w[0],
                  w[1],
                  w[2],
                  w[3],
                  w[4],
                  w[5],
                  ctx->saved_data["scale"].toDouble()};
    const Inputs in{kept_or_made(saved[0], from_saved(take_saved(ctx, "q"))),
                    kept_or_made(saved[1], from_saved(take_saved(ctx, "kv"))),
                    saved[2],
                    saved[3],
                    saved[4],
                    saved[5]};
    const Gradients g = attend_backward(in, s, saved[6], grads[0].contiguous());
    const at::Tensor drope_key_NX = shared_rope_keys(g.drope_key_HNR, in, s);
    return {g.dq_NX,
            shared_key_values(g.dkv_NHX, s),
            drope_key_NX.to(g.dq_NX.scalar_type()),
            {},
            {},
            {},
            {},
            {}};
  }
};

/// Attention by LibTorch's operations, of which a backward pass makes the inputs again, and then
/// attention itself.
struct LibraryAttention final : torch::CustomClassHolder {
  LibraryAttention(const Shape& s, RopeTable table, const AttentionInputs& again)
      : shape(s), rope(std::move(table)), q(again.q_NX), kv(again.kv_NX) {}

  [[nodiscard]] at::Tensor attend(const at::Tensor& q_NX, const at::Tensor& kv_NX,
                                  const at::Tensor& rope_key_NX) const {
    return library::causal_attention(q_NX.contiguous(), kv_NX.contiguous(),
                                     rope_key_NX.contiguous(), shape.segments, rope,
                                     {shape.heads, shape.key_value_heads, shape.rope_key_heads,
                                      shape.nope, shape.rope, shape.value, shape.scale});
  }

  Shape shape;
  RopeTable rope;
  RemadePtr q, kv;
};
using LibraryAttentionPtr = c10::intrusive_ptr<LibraryAttention>;

struct RemadeAttentionFunction : torch::autograd::Function<RemadeAttentionFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q_NX, const at::Tensor& kv_NX,
                            const at::Tensor& rope_key_NX, const LibraryAttentionPtr& attention) {
    ctx->save_for_backward(
        {attention->q ? at::Tensor() : q_NX, attention->kv ? at::Tensor() : kv_NX, rope_key_NX});
    ctx->saved_data["attention"] = c10::IValue::make_capsule(attention);
    return attention->attend(q_NX, kv_NX, rope_key_NX);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto attention = c10::static_intrusive_pointer_cast<LibraryAttention>(
        take_saved(ctx, "attention").toCapsule());
    const auto saved = ctx->get_saved_variables();
    variable_list inputs{kept_or_made(saved[0], attention->q),
                         kept_or_made(saved[1], attention->kv), saved[2]};
    if (grads[0].size(0) == 0) {  // no operation ran, and none has a gradient
      return {at::zeros_like(inputs[0]), at::zeros_like(inputs[1]), at::zeros_like(inputs[2]), {}};
    }
    for (at::Tensor& input : inputs) input = input.detach().requires_grad_();
    const c10::AutoGradMode graph(true);
    const at::Tensor out_NX = attention->attend(inputs[0], inputs[1], inputs[2]);
    variable_list gradients = torch::autograd::grad({out_NX}, inputs, {grads[0]});
    gradients.emplace_back();
    return gradients;
  }
};

}  // namespace

at::Tensor causal_attention(const at::Tensor& q_NX, const at::Tensor& kv_NX,
                            const at::Tensor& rope_key_NX, const Segments& segments,
                            const RopeTable& rope, const config::ModelConfig& config,
                            const AttentionInputs& again) {
  const Shape shape{segments,
                    config.num_attention_heads,
                    config.key_value_heads(),
                    config.is_mla() ? 1 : config.key_value_heads(),
                    config.qk_nope_head_dim,
                    config.qk_rope_head_dim,
                    config.v_head_dim,
                    softmax_scale(config)};
  if (!has_own_kernels(q_NX)) {
    const auto attention = c10::make_intrusive<LibraryAttention>(shape, rope, again);
    if (!again.q_NX && !again.kv_NX) return attention->attend(q_NX, kv_NX, rope_key_NX);
    return RemadeAttentionFunction::apply(q_NX, kv_NX, rope_key_NX, attention);
  }
  return CausalAttentionFunction::apply(q_NX.contiguous(), kv_NX.contiguous(),
                                        rope_key_NX.contiguous(), rope.cos_TR, rope.sin_TR, shape,
                                        again.q_NX, again.kv_NX);
}

}  // namespace dsmoe::nn
