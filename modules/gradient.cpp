#include "modules/gradient.h"

namespace dsmoe::nn {

at::Tensor gradient_of(const at::Tensor& parameter) {
  if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter.detach());
  return parameter.grad();
}

void add_weight_gradient(at::Tensor gradient_OI, const at::Tensor& dy_NO, const at::Tensor& x_NI) {
  if (dy_NO.size(0) == 0) return;
  if (gradient_OI.scalar_type() == x_NI.scalar_type()) {
    gradient_OI.addmm_(dy_NO.t(), x_NI);
  } else {
    gradient_OI.add_(at::mm(dy_NO.t(), x_NI));
  }
}

}  // namespace dsmoe::nn
