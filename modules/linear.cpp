#include "modules/linear.h"

#include "modules/gradient.h"

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_NI,
                            const at::Tensor& weight_OI) {
    ctx->save_for_backward({x_NI, weight_OI});
    return at::mm(x_NI, weight_OI.to(x_NI.scalar_type()).t());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor dy_NO = grads[0].contiguous();
    if (ctx->needs_input_grad(1)) {
      add_weight_gradient(gradient_of(saved[1]), dy_NO, saved[0]);
    }
    at::Tensor dx_NI;
    if (ctx->needs_input_grad(0)) dx_NI = at::mm(dy_NO, saved[1].detach().to(dy_NO.scalar_type()));
    return {dx_NI, {}};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x_NI, const at::Tensor& weight_OI) {
  return LinearFunction::apply(x_NI, weight_OI);
}

}  // namespace dsmoe::nn
