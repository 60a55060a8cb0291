#include "modules/gradient.h"

#include "modules/dispatch_type.h"
#include "modules/kernels/kernel_table.h"
#include "modules/own_kernels.h"
#include "modules/row_loop.h"

namespace dsmoe::nn {
namespace {

/// gradient += product, which is in the narrower type of the activations.
void add_rounded(at::Tensor& gradient_OI, const at::Tensor& product_OI) {
  DSMOE_DISPATCH(product_OI, [&] {
    const auto* from = product_OI.const_data_ptr<scalar_t>();
    auto* into = gradient_OI.mutable_data_ptr<kernels::opmath_t<scalar_t>>();
    for_rows(product_OI.numel(), 1, [&](int64_t begin, int64_t end) {
      kernels::kernels<scalar_t>().accumulate(from + begin, into + begin, end - begin);
    });
  });
}

}  // namespace

at::Tensor gradient_of(const at::Tensor& parameter) {
  if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter.detach());
  return parameter.grad();
}

void add_weight_gradient(at::Tensor gradient_OI, const at::Tensor& dy_NO, const at::Tensor& x_NI) {
  if (dy_NO.size(0) == 0) return;
  if (gradient_OI.scalar_type() == x_NI.scalar_type()) {
    gradient_OI.addmm_(dy_NO.t(), x_NI);
  } else if (!has_own_kernels(x_NI)) {
    gradient_OI.add_(at::mm(dy_NO.t(), x_NI));
  } else {
    add_rounded(gradient_OI, at::mm(dy_NO.t(), x_NI));
  }
}

}  // namespace dsmoe::nn
