#include "modules/attention_heads.h"

#include "modules/dispatch_type.h"
#include "modules/kernels/kernel_table.h"
#include "modules/row_loop.h"

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Widths of one head.
struct HeadShape {
  int64_t heads;
  int64_t nope;
  int64_t rope;
  int64_t value;
  int64_t length;

  [[nodiscard]] int64_t width() const { return nope + rope; }
};

template <class T>
struct Angles {
  const kernels::opmath_t<T>* cos;
  const kernels::opmath_t<T>* sin;

  void rotate(T* x, int64_t position, int64_t heads, const HeadShape& s, int sign) const {
    const int64_t at = position * (s.rope / 2);
    kernels::kernels<T>().rotate_pairs(x, cos + at, sin + at, heads, s.width(), s.rope,
                                       static_cast<kernels::opmath_t<T>>(sign));
  }
};

template <class T>
Angles<T> angles_of(const at::Tensor& cos, const at::Tensor& sin) {
  return {cos.const_data_ptr<kernels::opmath_t<T>>(), sin.const_data_ptr<kernels::opmath_t<T>>()};
}

/// One token's projections to its heads.
template <class T>
void split_token(const T* q, const T* kv, const T* rope_key, T* query, T* key, T* value,
                 const HeadShape& s) {
  std::copy(q, q + s.heads * s.width(), query);  // (16)
  for (int64_t h = 0; h < s.heads; ++h, kv += s.nope + s.value) {
    std::copy(kv, kv + s.nope, key);
    std::copy(rope_key, rope_key + s.rope, key + s.nope);  // (17)
    std::copy(kv + s.nope, kv + s.nope + s.value, value);
    std::fill(value + s.value, value + s.width(), T(0));
    key += s.width();
    value += s.width();
  }
}

/// The transpose of split_token for gradients; the rope key's is the sum over the heads.
template <class T>
void join_token(const T* dkey, const T* dvalue, T* dkv, T* drope_key, const HeadShape& s) {
  using opmath = kernels::opmath_t<T>;
  for (int64_t r = 0; r < s.rope; ++r) {
    opmath sum = 0;
    for (int64_t h = 0; h < s.heads; ++h) {
      sum += static_cast<opmath>(dkey[h * s.width() + s.nope + r]);
    }
    drope_key[r] = T(sum);
  }
  for (int64_t h = 0; h < s.heads; ++h, dkv += s.nope + s.value) {
    std::copy(dkey, dkey + s.nope, dkv);
    std::copy(dvalue, dvalue + s.value, dkv + s.nope);
    dkey += s.width();
    dvalue += s.width();
  }
}

/// [B, T, H, D] storage seen as [B, H, T, D].
at::Tensor new_heads(const at::Tensor& like, int64_t batch, const HeadShape& s) {
  return at::empty({batch, s.length, s.heads, s.width()}, like.options()).transpose(1, 2);
}

at::Tensor token_major(const at::Tensor& heads) { return heads.transpose(1, 2).contiguous(); }

struct HeadsFunction : torch::autograd::Function<HeadsFunction> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& q_NX,
                               const at::Tensor& kv_NX, const at::Tensor& rope_key_NR,
                               const at::Tensor& cos, const at::Tensor& sin, int64_t batch,
                               const HeadShape& s) {
    ctx->save_for_backward({cos, sin});
    ctx->saved_data["shape"] = std::vector<int64_t>{s.heads, s.nope, s.rope, s.value, s.length};
    at::Tensor query = new_heads(q_NX, batch, s);
    at::Tensor key = new_heads(q_NX, batch, s);
    at::Tensor value = new_heads(q_NX, batch, s);
    DSMOE_DISPATCH(q_NX, [&] {
      const auto angles = angles_of<scalar_t>(cos, sin);
      const auto* q = q_NX.const_data_ptr<scalar_t>();
      const auto* kv = kv_NX.const_data_ptr<scalar_t>();
      const auto* rk = rope_key_NR.const_data_ptr<scalar_t>();
      auto* qo = query.mutable_data_ptr<scalar_t>();
      auto* ko = key.mutable_data_ptr<scalar_t>();
      auto* vo = value.mutable_data_ptr<scalar_t>();
      const int64_t width = s.heads * s.width();
      for_rows(q_NX.size(0), 3 * width, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          split_token(q + n * width, kv + n * kv_NX.size(1), rk + n * s.rope, qo + n * width,
                      ko + n * width, vo + n * width, s);
          angles.rotate(qo + n * width + s.nope, n % s.length, s.heads, s, 1);  // (14)
          angles.rotate(ko + n * width + s.nope, n % s.length, s.heads, s, 1);  // (15)
        }
      });
    });
    return {query, key, value};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto shape = ctx->saved_data["shape"].toIntVector();
    const HeadShape s{shape[0], shape[1], shape[2], shape[3], shape[4]};
    at::Tensor dquery = token_major(grads[0]);
    if (dquery.data_ptr() == grads[0].data_ptr()) dquery = dquery.clone();
    const at::Tensor dkey = token_major(grads[1]);
    const at::Tensor dvalue = token_major(grads[2]);
    const int64_t rows = dquery.size(0) * s.length;
    const int64_t width = s.heads * s.width();
    const int64_t kv_width = s.heads * (s.nope + s.value);
    at::Tensor dkv_NX = at::empty({rows, kv_width}, dquery.options());
    at::Tensor drope_key_NR = at::empty({rows, s.rope}, dquery.options());
    DSMOE_DISPATCH(dquery, [&] {
      const auto angles = angles_of<scalar_t>(saved[0], saved[1]);
      auto* dq = dquery.mutable_data_ptr<scalar_t>();
      const auto* dk = dkey.const_data_ptr<scalar_t>();
      const auto* dv = dvalue.const_data_ptr<scalar_t>();
      auto* dkv = dkv_NX.mutable_data_ptr<scalar_t>();
      auto* drk = drope_key_NR.mutable_data_ptr<scalar_t>();
      for_rows(rows, 3 * width, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          angles.rotate(dq + n * width + s.nope, n % s.length, s.heads, s, -1);
          join_token(dk + n * width, dv + n * width, dkv + n * kv_width, drk + n * s.rope, s);
          angles.rotate(drk + n * s.rope, n % s.length, 1, s, -1);
        }
      });
    });
    return {dquery.view({rows, width}), dkv_NX, drope_key_NR, {}, {}, {}, {}};
  }
};

}  // namespace

AttentionHeads make_heads(const at::Tensor& q_NX, const at::Tensor& kv_NX,
                          const at::Tensor& rope_key_NR, int64_t batch, const RopeTable& rope,
                          const config::ModelConfig& config) {
  const HeadShape shape{config.num_attention_heads, config.qk_nope_head_dim,
                        config.qk_rope_head_dim, config.v_head_dim, q_NX.size(0) / batch};
  TORCH_CHECK(shape.value <= shape.width(), "make_heads: v_head_dim ", shape.value,
              " is wider than the key, ", shape.width());
  const auto heads =
      HeadsFunction::apply(q_NX.contiguous(), kv_NX.contiguous(), rope_key_NR.contiguous(),
                           rope.cos_TR, rope.sin_TR, batch, shape);
  return {heads[0], heads[1], heads[2]};
}

}  // namespace dsmoe::nn
