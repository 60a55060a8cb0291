#include "modules/segment_mean.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const bool* flags(const at::Tensor& valid_N) {
  return valid_N.defined() ? valid_N.const_data_ptr<bool>() : nullptr;
}

/// visit(segment, row) for every row that counts, segments over the threads.
template <class Visit>
void for_counted_rows(const Segments& segments, const at::Tensor& valid_N, const Visit& visit) {
  const bool* const valid = flags(valid_N);
  at::parallel_for(0, segments.count(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      for (int64_t n = segments.start(s); n < segments.start(s + 1); ++n) {
        if (valid == nullptr || valid[n]) visit(s, n);
      }
    }
  });
}

/// 1 / rows that count, 0 for none, float64 [S].
at::Tensor inverse_counts(const Segments& segments, const at::Tensor& valid_N) {
  const at::Tensor rows_S = count_rows(segments, valid_N);
  return rows_S.gt(0).to(at::kDouble) / rows_S.clamp_min(1).to(at::kDouble);
}

/// Which rows a mean is over; not an argument of its own, as an undefined tensor cannot be one.
struct Rows {
  Segments segments;
  at::Tensor valid_N;
};

struct SegmentMeanFunction : torch::autograd::Function<SegmentMeanFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_NX, const Rows& rows) {
    const auto& [segments, valid_N] = rows;
    const int64_t width = x_NX.size(1);
    const at::Tensor sum_SX = at::zeros({segments.count(), width}, at::kDouble);
    auto* const sums = sum_SX.mutable_data_ptr<double>();
    AT_DISPATCH_FLOATING_TYPES(x_NX.scalar_type(), "segment_mean", [&] {
      const auto* const x = x_NX.const_data_ptr<scalar_t>();
      for_counted_rows(segments, valid_N, [&](int64_t s, int64_t n) {
        for (int64_t i = 0; i < width; ++i) sums[s * width + i] += x[n * width + i];
      });
    });
    const at::Tensor inverse_S = inverse_counts(segments, valid_N);
    ctx->save_for_backward({valid_N, inverse_S});
    ctx->saved_data["starts"] = segments.starts();
    return (sum_SX * inverse_S.unsqueeze(1)).to(x_NX.scalar_type());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Segments segments(ctx->saved_data["starts"].toIntVector());
    const at::Tensor share_SX =
        (grads[0] * saved[1].to(grads[0].scalar_type()).unsqueeze(1)).contiguous();
    const int64_t width = share_SX.size(1);
    at::Tensor dx_NX = at::zeros({segments.rows(), width}, share_SX.options());
    AT_DISPATCH_FLOATING_TYPES(share_SX.scalar_type(), "segment_mean_backward", [&] {
      const auto* const shares = share_SX.const_data_ptr<scalar_t>();
      auto* const dx = dx_NX.mutable_data_ptr<scalar_t>();
      for_counted_rows(segments, saved[0], [&](int64_t s, int64_t n) {
        std::copy_n(shares + s * width, width, dx + n * width);
      });
    });
    return {dx_NX, {}};
  }
};

}  // namespace

at::Tensor count_rows(const Segments& segments, const at::Tensor& valid_N) {
  at::Tensor rows_S = at::zeros({segments.count()}, at::kLong);
  auto* const rows = rows_S.mutable_data_ptr<int64_t>();
  for_counted_rows(segments, valid_N, [&](int64_t s, int64_t) { ++rows[s]; });
  return rows_S;
}

at::Tensor segment_mean(const at::Tensor& x_NX, const Segments& segments,
                        const at::Tensor& valid_N) {
  return SegmentMeanFunction::apply(x_NX.contiguous(), Rows{segments, valid_N});
}

}  // namespace dsmoe::nn
