#include "modules/rms_norm.h"

#include "modules/dispatch_type.h"
#include "modules/gradient.h"
#include "modules/kernels/kernel_table.h"
#include "modules/library_operations.h"
#include "modules/own_kernels.h"
#include "modules/row_loop.h"

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor forward_rows(const at::Tensor& x_NM, const at::Tensor& weight_M, at::Tensor& rstd_N,
                        double eps) {
  if (!has_own_kernels(x_NM)) return library::rms_norm(x_NM, weight_M, rstd_N, eps);
  at::Tensor y_NM = at::empty_like(x_NM);
  const int64_t dim = x_NM.size(1);
  DSMOE_DISPATCH(x_NM, [&] {
    using opmath = kernels::opmath_t<scalar_t>;
    rstd_N =
        at::empty({x_NM.size(0)}, x_NM.options().dtype(c10::CppTypeToScalarType<opmath>::value));
    const auto* x = x_NM.const_data_ptr<scalar_t>();
    const auto* w = weight_M.const_data_ptr<scalar_t>();
    auto* y = y_NM.mutable_data_ptr<scalar_t>();
    auto* rstd = rstd_N.mutable_data_ptr<opmath>();
    for_rows(x_NM.size(0), dim, [&](int64_t b, int64_t e) {
      kernels::kernels<scalar_t>().rms_norm(x + b * dim, w, y + b * dim, rstd + b, e - b, dim, eps);
    });
  });
  return y_NM;
}

/// Each range of rows adds to its own dweight; they are then added in order.
at::Tensor backward_rows(const at::Tensor& dy_NM, const at::Tensor& x_NM,
                         const at::Tensor& weight_M, const at::Tensor& rstd_N,
                         at::Tensor gradient_M) {
  if (!has_own_kernels(x_NM)) {
    return library::rms_norm_backward(dy_NM, x_NM, weight_M, rstd_N, gradient_M);
  }
  at::Tensor dx_NM = at::empty_like(x_NM);
  const int64_t dim = x_NM.size(1);
  const int64_t parts = std::max<int64_t>(1, at::get_num_threads());
  const int64_t rows_per_part = (x_NM.size(0) + parts - 1) / parts;
  at::Tensor dweight_PM = at::zeros({parts, dim}, rstd_N.options());
  DSMOE_DISPATCH(x_NM, [&] {
    using opmath = kernels::opmath_t<scalar_t>;
    const auto* dy = dy_NM.const_data_ptr<scalar_t>();
    const auto* x = x_NM.const_data_ptr<scalar_t>();
    const auto* w = weight_M.const_data_ptr<scalar_t>();
    const auto* rstd = rstd_N.const_data_ptr<opmath>();
    auto* dx = dx_NM.mutable_data_ptr<scalar_t>();
    auto* dw = dweight_PM.mutable_data_ptr<opmath>();
    at::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
      for (int64_t p = first; p < last; ++p) {
        const int64_t b = std::min(p * rows_per_part, x_NM.size(0));
        const int64_t e = std::min(b + rows_per_part, x_NM.size(0));
        kernels::kernels<scalar_t>().rms_norm_backward(dy + b * dim, x + b * dim, w, rstd + b,
                                                       dx + b * dim, dw + p * dim, e - b, dim);
      }
    });
  });
  gradient_M.add_(dweight_PM.sum(0));
  return dx_NM;
}

struct RmsNormFunction : torch::autograd::Function<RmsNormFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_NM,
                            const at::Tensor& weight_M, double eps) {
    at::Tensor rstd_N;
    at::Tensor y_NM = forward_rows(x_NM, weight_M, rstd_N, eps);
    ctx->save_for_backward({x_NM, weight_M, rstd_N});
    return y_NM;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    return {backward_rows(grads[0].contiguous(), saved[0], saved[1].detach(), saved[2],
                          gradient_of(saved[1])),
            {},
            {}};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x_NM, const at::Tensor& weight_M, double eps) {
  return RmsNormFunction::apply(x_NM.contiguous(), weight_M, eps);
}

RmsNormImpl::RmsNormImpl(int64_t dim, double eps)
    : weight_(register_parameter("weight", at::ones({dim}))), eps_(eps) {}

at::Tensor RmsNormImpl::forward(const at::Tensor& x_NM) { return rms_norm(x_NM, weight_, eps_); }

RemadePtr RmsNormImpl::again(const at::Tensor& x_NM, bool wanted) const {
  return remade_if(wanted, [x = x_NM.detach(), weight = weight_, eps = eps_] {
    return rms_norm(x, weight, eps);
  });
}

}  // namespace dsmoe::nn
