#include "parallel/dispatcher.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

namespace dsmoe::parallel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// Plan and group of one layer, as a value that an autograd node can keep.
struct Exchange final : torch::CustomClassHolder {
  Exchange(std::shared_ptr<const DispatchPlan> p, Communicator& g) : plan(std::move(p)), ep(g) {}
  std::shared_ptr<const DispatchPlan> plan;
  Communicator& ep;
};
using ExchangePtr = c10::intrusive_ptr<Exchange>;

void keep(AutogradContext* ctx, const ExchangePtr& exchange) {
  ctx->saved_data["exchange"] =
      c10::IValue::make_capsule(c10::intrusive_ptr<torch::CustomClassHolder>(exchange));
}

ExchangePtr kept(AutogradContext* ctx) {
  return c10::static_intrusive_pointer_cast<Exchange>(ctx->saved_data["exchange"].toCapsule());
}

at::Tensor exchange_rows(const at::Tensor& rows, const std::vector<int64_t>& sent,
                         const std::vector<int64_t>& received, Communicator& ep) {
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = 0;
  for (const int64_t count : received) shape[0] += count;
  at::Tensor result = at::empty(shape, rows.options());
  ep.all_to_all(result, rows.contiguous(), received, sent);
  return result;
}

/// Tokens -> arrived rows.
at::Tensor send_rows(const at::Tensor& x_NM, const Exchange& e) {
  if (e.ep.size() == 1) return x_NM;
  const at::Tensor outgoing = x_NM.index_select(0, e.plan->row_tokens_S);
  return exchange_rows(outgoing, e.plan->sent_rows, e.plan->received_rows, e.ep);
}

/// Arrived rows -> tokens: the sum over the ranks that a token visited.
at::Tensor return_rows(const at::Tensor& rows_RM, const Exchange& e) {
  if (e.ep.size() == 1) return rows_RM;
  const at::Tensor incoming =
      exchange_rows(rows_RM, e.plan->received_rows, e.plan->sent_rows, e.ep);
  at::Tensor y_NM = at::zeros({e.plan->num_tokens, rows_RM.size(1)}, rows_RM.options());
  return y_NM.index_add_(0, e.plan->row_tokens_S, incoming);
}

/// Gate weights of the pairs that arrived, in expert order.
at::Tensor send_weights(const at::Tensor& weights_NK, const Exchange& e) {
  at::Tensor pairs = weights_NK.reshape({-1}).index_select(0, e.plan->pair_choices_S);
  if (e.ep.size() > 1) {
    pairs = exchange_rows(pairs, e.plan->sent_pairs, e.plan->received_pairs, e.ep);
  }
  return pairs.index_select(0, e.plan->pair_order_P);
}

/// Gradient of the gate weights: the same way back.
at::Tensor return_weights(const at::Tensor& weights_P, c10::IntArrayRef shape_NK,
                          const Exchange& e) {
  at::Tensor pairs = at::empty_like(weights_P);
  pairs.index_copy_(0, e.plan->pair_order_P, weights_P);
  if (e.ep.size() > 1) {
    pairs = exchange_rows(pairs, e.plan->received_pairs, e.plan->sent_pairs, e.ep);
  }
  at::Tensor all = at::zeros(shape_NK, weights_P.options());
  all.view({-1}).index_copy_(0, e.plan->pair_choices_S, pairs);
  return all;
}

struct DispatchFunction : Function<DispatchFunction> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x_NM,
                               const at::Tensor& weights_NK, const ExchangePtr& exchange) {
    keep(ctx, exchange);
    ctx->saved_data["shape"] = weights_NK.sizes().vec();
    at::Tensor rows = send_rows(x_NM, *exchange);
    return {rows.is_same(x_NM) ? x_NM.view_as(x_NM) : rows, send_weights(weights_NK, *exchange)};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const ExchangePtr e = kept(ctx);
    at::Tensor dweights = return_weights(grads[1], ctx->saved_data["shape"].toIntVector(), *e);
    return {return_rows(grads[0], *e), dweights, {}};
  }
};

struct CombineFunction : Function<CombineFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& rows_RM,
                            const ExchangePtr& exchange) {
    keep(ctx, exchange);
    return return_rows(rows_RM, *exchange);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    return {send_rows(grads[0], *kept(ctx)), {}};
  }
};

/// With one rank a row is its token.
at::Tensor rows_of_pairs(const DispatchPlan& plan, const Communicator& ep) {
  return ep.size() > 1 ? plan.pair_rows_P : plan.row_tokens_S.index_select(0, plan.pair_rows_P);
}

}  // namespace

Dispatcher::Dispatcher(std::shared_ptr<const DispatchPlan> plan, Communicator& ep)
    : plan_(std::move(plan)), ep_(ep) {}

Dispatched Dispatcher::dispatch(const at::Tensor& x_NM, const at::Tensor& weights_NK) const {
  const auto results =
      DispatchFunction::apply(x_NM, weights_NK, c10::make_intrusive<Exchange>(plan_, ep_));
  return {results[0], results[1], rows_of_pairs(*plan_, ep_)};
}

at::Tensor Dispatcher::combine(const at::Tensor& rows_RM) const {
  if (ep_.size() == 1) return rows_RM;
  return CombineFunction::apply(rows_RM, c10::make_intrusive<Exchange>(plan_, ep_));
}

}  // namespace dsmoe::parallel
