#include "modules/linear.h"

#include "modules/deferred_gradients.h"
#include "modules/gradient.h"
#include "modules/progress.h"
#include "modules/saved_data.h"

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_NI,
                            const at::Tensor& weight_OI, const RemadePtr& again) {
    ctx->save_for_backward({again ? at::Tensor() : x_NI, weight_OI});
    ctx->saved_data["again"] = to_saved(again);
    make_progress();
    return at::mm(x_NI, weight_OI.to(x_NI.scalar_type()).t());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const RemadePtr again = from_saved(take_saved(ctx, "again"));
    const at::Tensor dy_NO = grads[0].contiguous();
    if (ctx->needs_input_grad(1)) {
      weight_gradient([into = gradient_of(saved[1]), dy_NO, kept_NI = saved[0], again] {
        add_weight_gradient(into, dy_NO, kept_or_made(kept_NI, again));
      });
    }
    at::Tensor dx_NI;
    make_progress();
    if (ctx->needs_input_grad(0)) dx_NI = at::mm(dy_NO, saved[1].detach().to(dy_NO.scalar_type()));
    return {dx_NI, {}, {}};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x_NI, const at::Tensor& weight_OI, const RemadePtr& again) {
  return LinearFunction::apply(x_NI, weight_OI, again);
}

}  // namespace dsmoe::nn
