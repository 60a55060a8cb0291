#include "modules/experts.h"

#include "modules/dispatch_type.h"
#include "modules/gradient.h"
#include "modules/kernels/kernel_table.h"
#include "modules/row_loop.h"

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The pairs [begin, begin + count) of one expert.
struct Slice {
  int64_t expert;
  int64_t begin;
  int64_t count;

  [[nodiscard]] at::Tensor of(const at::Tensor& pairs) const {
    return pairs.narrow(0, begin, count);
  }
};

std::vector<Slice> slices(const std::vector<int64_t>& offsets) {
  std::vector<Slice> result;
  for (size_t e = 0; e + 1 < offsets.size(); ++e) {
    if (offsets[e + 1] == offsets[e]) continue;
    result.push_back({static_cast<int64_t>(e), offsets[e], offsets[e + 1] - offsets[e]});
  }
  return result;
}

/// scale * silu(gate) * up of some pairs.
at::Tensor activate(const at::Tensor& h_PX, const at::Tensor& scale_P) {
  const int64_t width = h_PX.size(1) / 2;
  at::Tensor out_PF = at::empty({h_PX.size(0), width}, h_PX.options());
  DSMOE_DISPATCH(h_PX, [&] {
    using opmath = kernels::opmath_t<scalar_t>;
    const auto* h = h_PX.const_data_ptr<scalar_t>();
    const auto* scale = scale_P.const_data_ptr<opmath>();
    auto* out = out_PF.mutable_data_ptr<scalar_t>();
    for_rows(h_PX.size(0), width, [&](int64_t b, int64_t e) {
      kernels::kernels<scalar_t>().swiglu(h + 2 * b * width, scale + b, out + b * width, e - b,
                                          width);
    });
  });
  return out_PF;
}

struct ActivationGradient {
  at::Tensor dh_PX;
  at::Tensor activation_PF;
};

ActivationGradient activate_backward(const at::Tensor& dout_PF, const at::Tensor& h_PX,
                                     const at::Tensor& scale_P, at::Tensor dscale_P) {
  ActivationGradient result{at::empty_like(h_PX), at::empty_like(dout_PF)};
  const int64_t width = dout_PF.size(1);
  DSMOE_DISPATCH(h_PX, [&] {
    using opmath = kernels::opmath_t<scalar_t>;
    const auto* dout = dout_PF.const_data_ptr<scalar_t>();
    const auto* h = h_PX.const_data_ptr<scalar_t>();
    const auto* scale = scale_P.const_data_ptr<opmath>();
    auto* dh = result.dh_PX.mutable_data_ptr<scalar_t>();
    auto* dscale = dscale_P.mutable_data_ptr<opmath>();
    auto* out = result.activation_PF.mutable_data_ptr<scalar_t>();
    for_rows(h_PX.size(0), width, [&](int64_t b, int64_t e) {
      kernels::kernels<scalar_t>().swiglu_backward(dout + b * width, h + 2 * b * width, scale + b,
                                                   dh + 2 * b * width, dscale + b, out + b * width,
                                                   e - b, width);
    });
  });
  return result;
}

/// into[index] += rows. The rows of one expert are distinct, so the loop has no races.
void add_rows(at::Tensor& into_RM, const at::Tensor& index_P, const at::Tensor& rows_PM) {
  const int64_t dim = rows_PM.size(1);
  DSMOE_DISPATCH(rows_PM, [&] {
    auto* into = into_RM.mutable_data_ptr<scalar_t>();
    const auto* index = index_P.const_data_ptr<int64_t>();
    const auto* rows = rows_PM.const_data_ptr<scalar_t>();
    for_rows(rows_PM.size(0), dim, [&](int64_t b, int64_t e) {
      kernels::kernels<scalar_t>().add_rows(into, index + b, rows + b * dim, e - b, dim);
    });
  });
}

struct ExpertsFunction : torch::autograd::Function<ExpertsFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& rows_RM,
                            const at::Tensor& weights_P, const at::Tensor& gate_up,
                            const at::Tensor& down, const at::Tensor& pair_rows_P,
                            const std::vector<int64_t>& offsets) {
    at::Tensor h_PX = at::empty({offsets.back(), gate_up.size(1)}, rows_RM.options());
    at::Tensor out_RM = at::zeros_like(rows_RM);
    for (const Slice& s : slices(offsets)) {
      at::Tensor h = s.of(h_PX);
      at::mm_out(h, rows_RM.index_select(0, s.of(pair_rows_P)), gate_up[s.expert].t());
      const at::Tensor activation = activate(h, s.of(weights_P));
      add_rows(out_RM, s.of(pair_rows_P), at::mm(activation, down[s.expert].t()));
    }
    ctx->save_for_backward({rows_RM, weights_P, gate_up, down, pair_rows_P, h_PX});
    ctx->saved_data["offsets"] = offsets;
    return out_RM;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &rows_RM = saved[0], &weights_P = saved[1], &pair_rows_P = saved[4];
    const at::Tensor gate_up = saved[2].detach(), down = saved[3].detach();
    const bool trains = ctx->needs_input_grad(2);
    at::Tensor gate_up_grad = trains ? gradient_of(saved[2]) : at::Tensor();
    at::Tensor down_grad = trains ? gradient_of(saved[3]) : at::Tensor();
    const at::Tensor dout_RM = grads[0].contiguous();
    at::Tensor drows_RM = at::zeros_like(rows_RM);
    at::Tensor dweights_P = at::zeros_like(weights_P);
    for (const Slice& s : slices(ctx->saved_data["offsets"].toIntVector())) {
      const at::Tensor index = s.of(pair_rows_P);
      const at::Tensor dy = dout_RM.index_select(0, index);
      const auto [dh, activation] = activate_backward(at::mm(dy, down[s.expert]), s.of(saved[5]),
                                                      s.of(weights_P), s.of(dweights_P));
      if (trains) {
        add_weight_gradient(down_grad[s.expert], dy, activation);
        add_weight_gradient(gate_up_grad[s.expert], dh, rows_RM.index_select(0, index));
      }
      add_rows(drows_RM, index, at::mm(dh, gate_up[s.expert]));
    }
    return {drows_RM, dweights_P, {}, {}, {}, {}};
  }
};

}  // namespace

ExpertsImpl::ExpertsImpl(const config::ModelConfig& config, int64_t first, int64_t count)
    : first_(first),
      gate_up_proj_(register_parameter(
          "gate_up_proj",
          at::empty({count, 2 * config.moe_intermediate_size, config.hidden_size}))),
      down_proj_(register_parameter(
          "down_proj", at::empty({count, config.hidden_size, config.moe_intermediate_size}))) {}

at::Tensor ExpertsImpl::forward(const parallel::Dispatched& in,
                                const std::vector<int64_t>& offsets) {
  return ExpertsFunction::apply(in.rows_RM, in.weights_P, gate_up_proj_, down_proj_, in.pair_rows_P,
                                offsets);
}

}  // namespace dsmoe::nn
