#include "modules/swiglu.h"

#include "modules/dispatch_type.h"
#include "modules/kernels/kernel_table.h"
#include "modules/library_operations.h"
#include "modules/own_kernels.h"
#include "modules/progress.h"
#include "modules/row_loop.h"

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct SwigluFunction : torch::autograd::Function<SwigluFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& h_NX) {
    ctx->save_for_backward({h_NX});
    make_progress();
    if (!has_own_kernels(h_NX)) return library::swiglu(h_NX, {});
    const int64_t width = h_NX.size(1) / 2;
    at::Tensor out_NF = at::empty({h_NX.size(0), width}, h_NX.options());
    DSMOE_DISPATCH(h_NX, [&] {
      const auto* h = h_NX.const_data_ptr<scalar_t>();
      auto* out = out_NF.mutable_data_ptr<scalar_t>();
      for_rows(h_NX.size(0), width, [&](int64_t b, int64_t e) {
        kernels::kernels<scalar_t>().swiglu(h + 2 * b * width, nullptr, out + b * width, e - b,
                                            width);
      });
    });
    return out_NF;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::Tensor h_NX = ctx->get_saved_variables()[0];
    const at::Tensor dout_NF = grads[0].contiguous();
    if (!has_own_kernels(h_NX)) return {library::swiglu_backward(dout_NF, h_NX, {}).dh_NX};
    at::Tensor dh_NX = at::empty_like(h_NX);
    const int64_t width = dout_NF.size(1);
    DSMOE_DISPATCH(h_NX, [&] {
      const auto* dout = dout_NF.const_data_ptr<scalar_t>();
      const auto* h = h_NX.const_data_ptr<scalar_t>();
      auto* dh = dh_NX.mutable_data_ptr<scalar_t>();
      for_rows(h_NX.size(0), width, [&](int64_t b, int64_t e) {
        kernels::kernels<scalar_t>().swiglu_backward(dout + b * width, h + 2 * b * width, nullptr,
                                                     dh + 2 * b * width, nullptr, nullptr, e - b,
                                                     width);
      });
    });
    return {dh_NX};
  }
};

}  // namespace

at::Tensor swiglu(const at::Tensor& h_NX) { return SwigluFunction::apply(h_NX); }

SwigluMlpImpl::SwigluMlpImpl(int64_t hidden_size, int64_t intermediate_size,
                             const Recompute& recompute)
    : recompute_(recompute),
      gate_up_proj_(
          register_module("gate_up_proj", LinearLayer(2 * intermediate_size, hidden_size))),
      down_proj_(register_module("down_proj", LinearLayer(hidden_size, intermediate_size))) {}

at::Tensor SwigluMlpImpl::forward(const at::Tensor& x_NM, const RemadePtr& again) {
  const at::Tensor h_NX = gate_up_proj_->forward(x_NM, {}, again);
  const RemadePtr activation =
      remade_if(recompute_.swiglu, [h = h_NX.detach()] { return swiglu(h); });
  return down_proj_->forward(swiglu(h_NX), {}, activation);
}

}  // namespace dsmoe::nn
