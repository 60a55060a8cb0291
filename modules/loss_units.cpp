#include "modules/loss_units.h"

#include <ATen/Dispatch.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct ShareOfMean : torch::autograd::Function<ShareOfMean> {
  /// units is no tensor of its own: an undefined one cannot be an argument.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_NX,
                            const at::Tensor& tokens_U, const LossUnits& units) {
    const int64_t width = x_NX.size(1);
    at::Tensor sum_UX = at::zeros({units.count, width}, at::kDouble);
    auto* const sums = sum_UX.mutable_data_ptr<double>();
    AT_DISPATCH_FLOATING_TYPES(x_NX.scalar_type(), "share_of_mean", [&] {
      const auto* const x = x_NX.const_data_ptr<scalar_t>();
      for_rows_of(units, [&](int64_t piece, int64_t n) {
        double* const sum = sums + units.units[static_cast<size_t>(piece)] * width;
        for (int64_t i = 0; i < width; ++i) sum[i] += x[n * width + i];
      });
    });
    const at::Tensor divisor_U = tokens_U.clamp_min(1).to(at::kDouble);
    ctx->save_for_backward({divisor_U, units.valid_N});
    ctx->saved_data["starts"] = units.pieces.starts();
    ctx->saved_data["units"] = units.units;
    return (sum_UX / divisor_U.unsqueeze(1)).to(x_NX.scalar_type());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const LossUnits units{Segments(ctx->saved_data["starts"].toIntVector()),
                          ctx->saved_data["units"].toIntVector(), saved[0].size(0), saved[1]};
    const at::Tensor share_UX =
        (grads[0] / saved[0].to(grads[0].scalar_type()).unsqueeze(1)).contiguous();
    const int64_t width = share_UX.size(1);
    at::Tensor dx_NX = at::zeros({units.pieces.rows(), width}, share_UX.options());
    AT_DISPATCH_FLOATING_TYPES(share_UX.scalar_type(), "share_of_mean_backward", [&] {
      const auto* const shares = share_UX.const_data_ptr<scalar_t>();
      auto* const dx = dx_NX.mutable_data_ptr<scalar_t>();
      for_rows_of(units, [&](int64_t piece, int64_t n) {
        std::copy_n(shares + units.units[static_cast<size_t>(piece)] * width, width,
                    dx + n * width);
      });
    });
    return {dx_NX, {}, {}};
  }
};

}  // namespace

LossUnits LossUnits::each(Segments pieces, at::Tensor valid_N) {
  LossUnits units{std::move(pieces), {}, 0, std::move(valid_N)};
  units.count = units.pieces.count();
  units.units.resize(static_cast<size_t>(units.count));
  std::iota(units.units.begin(), units.units.end(), 0);
  return units;
}

at::Tensor count_tokens(const LossUnits& units) {
  at::Tensor tokens_U = at::zeros({units.count}, at::kLong);
  auto* const tokens = tokens_U.mutable_data_ptr<int64_t>();
  for_rows_of(units,
              [&](int64_t piece, int64_t) { ++tokens[units.units[static_cast<size_t>(piece)]]; });
  return tokens_U;
}

at::Tensor share_of_mean(const at::Tensor& x_NX, const LossUnits& units,
                         const at::Tensor& tokens_U) {
  return ShareOfMean::apply(x_NX.contiguous(), tokens_U, units);
}

}  // namespace dsmoe::nn
