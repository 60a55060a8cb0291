#include "modules/experts.h"

#include <numeric>

#include "modules/deferred_gradients.h"
#include "modules/dispatch_type.h"
#include "modules/expert_weights.h"
#include "modules/kernels/kernel_table.h"
#include "modules/library_operations.h"
#include "modules/own_kernels.h"
#include "modules/progress.h"
#include "modules/row_loop.h"

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The pairs of each row, in ascending order: pair_rows_P turned around.
struct RowPairs {
  std::vector<int64_t> offsets;
  std::vector<int64_t> pairs;

  RowPairs(const at::Tensor& pair_rows_P, int64_t rows)
      : offsets(static_cast<size_t>(rows) + 1), pairs(static_cast<size_t>(pair_rows_P.numel())) {
    const auto* row_of = pair_rows_P.const_data_ptr<int64_t>();
    for (size_t p = 0; p < pairs.size(); ++p) ++offsets[static_cast<size_t>(row_of[p]) + 1];
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    std::vector<int64_t> next(offsets.begin(), offsets.end() - 1);
    for (size_t p = 0; p < pairs.size(); ++p) {
      const auto at = static_cast<size_t>(next[static_cast<size_t>(row_of[p])]++);
      pairs[at] = static_cast<int64_t>(p);
    }
  }
};

/// Each row's sum over its pairs; zero where there is none.
at::Tensor sum_pairs(const at::Tensor& pairs_PM, const at::Tensor& pair_rows_P, int64_t rows) {
  if (!has_own_kernels(pairs_PM)) return library::sum_pairs(pairs_PM, pair_rows_P, rows);
  const RowPairs of(pair_rows_P, rows);
  const int64_t dim = pairs_PM.size(1);
  at::Tensor out_RM = at::empty({rows, dim}, pairs_PM.options());
  DSMOE_DISPATCH(pairs_PM, [&] {
    const auto* from = pairs_PM.const_data_ptr<scalar_t>();
    auto* out = out_RM.mutable_data_ptr<scalar_t>();
    for_rows(rows, dim, [&](int64_t b, int64_t e) {
      kernels::kernels<scalar_t>().sum_rows(from, of.offsets.data() + b, of.pairs.data(),
                                            out + b * dim, e - b, dim);
    });
  });
  return out_RM;
}

/// scale * silu(gate) * up of some pairs.
at::Tensor activate(const at::Tensor& h_PX, const at::Tensor& scale_P) {
  if (!has_own_kernels(h_PX)) return library::swiglu(h_PX, scale_P);
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
  if (!has_own_kernels(h_PX)) {
    const auto [dh_PX, dscale] = library::swiglu_backward(dout_PF, h_PX, scale_P);
    dscale_P.copy_(dscale);
    return {dh_PX, library::swiglu(h_PX, scale_P)};
  }
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

/// Expert i's gradient at i.
std::vector<int64_t> all_slots(int64_t count) {
  std::vector<int64_t> slots(static_cast<size_t>(count));
  std::iota(slots.begin(), slots.end(), 0);
  return slots;
}

struct ExpertsFunction : torch::autograd::Function<ExpertsFunction> {
  /// anchor: a matrix that requires a gradient where any does, so that the graph has this node.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& rows_RM,
                            const at::Tensor& weights_P, const at::Tensor& anchor,
                            const ExpertWeightsPtr& experts, const at::Tensor& pair_rows_P,
                            const std::vector<int64_t>& offsets) {
    static_cast<void>(anchor);
    const bool keeps = !experts->recompute;
    at::Tensor h_PX =
        at::empty({keeps ? offsets.back() : 0, experts->gate_up.size(1)}, rows_RM.options());
    at::Tensor y_PM = at::empty({offsets.back(), rows_RM.size(1)}, rows_RM.options());
    const ExpertStack gate_up(experts->gate_up, experts->gate_up_adapter);
    const ExpertStack down(experts->down, experts->down_adapter);
    // Threads of a parallel loop record graphs unless what they read is detached.
    for_experts(has_own_kernels(rows_RM), expert_slices(offsets),
                [&, rows = rows_RM.detach(), weights = weights_P.detach()](ExpertSlice s) {
                  at::Tensor h =
                      keeps ? s.of(h_PX) : at::empty({s.count, h_PX.size(1)}, h_PX.options());
                  at::Tensor y = s.of(y_PM);
                  gate_up.multiply(h, rows.index_select(0, s.of(pair_rows_P)), s.expert);
                  down.multiply(y, activate(h, s.of(weights)), s.expert);
                });
    ctx->save_for_backward({rows_RM, weights_P, pair_rows_P, h_PX});
    ctx->saved_data["experts"] = c10::IValue::make_capsule(experts);
    ctx->saved_data["offsets"] = offsets;
    return sum_pairs(y_PM, pair_rows_P, rows_RM.size(0));
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor rows_RM = saved[0].detach(), weights_P = saved[1].detach();
    const at::Tensor &pair_rows_P = saved[2], &h_PX = saved[3];
    const auto experts =
        c10::static_intrusive_pointer_cast<ExpertWeights>(ctx->saved_data["experts"].toCapsule());
    const ExpertStack gate_up(experts->gate_up, experts->gate_up_adapter);
    const ExpertStack down(experts->down, experts->down_adapter);
    const std::vector<ExpertSlice> all = expert_slices(ctx->saved_data["offsets"].toIntVector());
    std::vector<WeightTerms> later(defers_gradients() ? experts->gate_up_slots.size() : 0);
    const bool needs_dx = ctx->needs_input_grad(0);
    const at::Tensor dout_RM = grads[0].contiguous();
    const ExpertGradients gradients(experts, rows_RM, dout_RM, pair_rows_P);
    at::Tensor dx_PM =
        at::empty({needs_dx ? weights_P.size(0) : 0, rows_RM.size(1)}, rows_RM.options());
    at::Tensor dweights_P = at::zeros_like(weights_P);
    const bool on_threads = has_own_kernels(rows_RM);
    for_experts(on_threads, all, [&](ExpertSlice s) {
      const at::Tensor dy = dout_RM.index_select(0, s.of(pair_rows_P));
      at::Tensor dactivation = at::empty({s.count, h_PX.size(1) / 2}, h_PX.options());
      down.turn_back(dactivation, dy, s.expert);
      at::Tensor h;
      if (experts->recompute) {
        h = at::empty({s.count, h_PX.size(1)}, h_PX.options());
        gate_up.multiply(h, rows_RM.index_select(0, s.of(pair_rows_P)), s.expert);
      } else {
        h = s.of(h_PX);
      }
      const auto [dh, activation] =
          activate_backward(dactivation, h, s.of(weights_P), s.of(dweights_P));
      if (later.empty()) {
        gradients.add(s, {dy, activation, dh});
      } else if (gradients.trains(s.expert)) {
        later[static_cast<size_t>(s.expert)] = {{}, activation, dh};
      }
      if (!needs_dx) return;
      at::Tensor dx = s.of(dx_PM);
      gate_up.turn_back(dx, dh, s.expert);
    });
    make_progress();
    if (!later.empty()) {
      weight_gradient([gradients, all, on_threads, later = std::move(later)] {
        for_experts(on_threads, all,
                    [&](ExpertSlice s) { gradients.add(s, later[static_cast<size_t>(s.expert)]); });
      });
    }
    at::Tensor dx_RM;
    if (needs_dx) dx_RM = sum_pairs(dx_PM, pair_rows_P, rows_RM.size(0));
    return {dx_RM, dweights_P, {}, {}, {}, {}};
  }
};

/// Rows to compute for `count` pairs of one expert. Each product of LibTorch in bf16 is compiled,
/// and kept, for every shape that appears: of 32 rows more or an eighth, few appear.
int64_t rows_to_compute(int64_t count) {
  int64_t block = 32;
  while (16 * block <= count) block *= 2;
  return (count + block - 1) / block * block;
}

struct Pairs {
  at::Tensor weights_P;
  at::Tensor pair_rows_P;
  std::vector<int64_t> offsets;
};

/// Fills each expert's pairs up to rows_to_compute with pairs of row 0 and weight 0, which add
/// nothing to any sum or gradient.
Pairs fill_up(const parallel::Dispatched& in, const std::vector<int64_t>& offsets) {
  Pairs filled{{}, {}, {0}};
  std::vector<int64_t> from;
  for (size_t e = 0; e + 1 < offsets.size(); ++e) {
    for (int64_t p = offsets[e]; p < offsets[e + 1]; ++p) from.push_back(p);
    const auto end = filled.offsets.back() + rows_to_compute(offsets[e + 1] - offsets[e]);
    from.resize(static_cast<size_t>(end), offsets.back());
    filled.offsets.push_back(static_cast<int64_t>(from.size()));
  }
  const at::Tensor from_P = torch::tensor(from, at::kLong).to(in.weights_P.device());
  const auto with_zero = [](const at::Tensor& x) { return at::cat({x, x.new_zeros({1})}); };
  filled.weights_P = with_zero(in.weights_P).index_select(0, from_P);
  filled.pair_rows_P = with_zero(in.pair_rows_P).index_select(0, from_P);
  return filled;
}

}  // namespace

ExpertsImpl::ExpertsImpl(const config::ModelConfig& config, int64_t first, int64_t count,
                         const Recompute& recompute)
    : first_(first),
      recompute_(recompute),
      gate_up_proj_(register_parameter(
          "gate_up_proj",
          at::empty({count, 2 * config.moe_intermediate_size, config.hidden_size}))),
      down_proj_(register_parameter(
          "down_proj", at::empty({count, config.hidden_size, config.moe_intermediate_size}))),
      gate_up_slots_(all_slots(count)),
      down_slots_(all_slots(count)) {}

void ExpertsImpl::set_trained(const std::string& name, const std::vector<int64_t>& slots) {
  if (name == "gate_up_proj") gate_up_slots_ = slots;
  if (name == "down_proj") down_slots_ = slots;
}

void ExpertsImpl::adapt(const std::string& name, int64_t rank, double scale) {
  const bool is_down = name == "down_proj";
  const at::Tensor& stack = is_down ? down_proj_ : gate_up_proj_;
  (is_down ? down_adapter_ : gate_up_adapter_) =
      register_adapter(*this, name + "_", {stack.size(0), rank, stack.size(2)},
                       {stack.size(0), stack.size(1), rank}, scale);
}

at::Tensor ExpertsImpl::anchor() const {
  for (const at::Tensor& one : {gate_up_proj_, down_proj_, gate_up_adapter_.a, down_adapter_.a}) {
    if (one.defined() && one.requires_grad()) return one;
  }
  return gate_up_proj_;
}

at::Tensor ExpertsImpl::forward(const parallel::Dispatched& in,
                                const std::vector<int64_t>& offsets) {
  const bool compiles = has_own_kernels(in.rows_RM) && in.rows_RM.scalar_type() == at::kBFloat16 &&
                        offsets.back() > 0;
  const Pairs pairs =
      compiles ? fill_up(in, offsets) : Pairs{in.weights_P, in.pair_rows_P, offsets};
  const auto experts = c10::make_intrusive<ExpertWeights>();
  experts->gate_up = gate_up_proj_;
  experts->down = down_proj_;
  experts->gate_up_adapter = gate_up_adapter_;
  experts->down_adapter = down_adapter_;
  experts->gate_up_slots = gate_up_slots_;
  experts->down_slots = down_slots_;
  experts->recompute = recompute_.experts;
  return ExpertsFunction::apply(in.rows_RM, pairs.weights_P, anchor(), experts, pairs.pair_rows_P,
                                pairs.offsets);
}

}  // namespace dsmoe::nn
