#include "parallel/dispatcher.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <numeric>
#include <utility>

namespace dsmoe::parallel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// Rows on their way; complete at once where there is nobody to send to.
struct Transfer {
  at::Tensor rows;
  std::unique_ptr<Work> work;

  /// The rows, arrived; leaves nothing behind.
  at::Tensor finish() {
    if (work) work->wait();
    work.reset();
    return std::exchange(rows, {});
  }
};

/// Plan and group of one layer, as a value that autograd nodes keep, and what is under way between
/// the two nodes of a dispatch.
struct Exchange final : torch::CustomClassHolder {
  Exchange(std::shared_ptr<const DispatchPlan> p, Communicator& g) : plan(std::move(p)), ep(g) {}
  std::shared_ptr<const DispatchPlan> plan;
  Communicator& ep;
  Transfer rows;
  Transfer pairs;
};
using ExchangePtr = c10::intrusive_ptr<Exchange>;

void keep(AutogradContext* ctx, const ExchangePtr& exchange) {
  ctx->saved_data["exchange"] =
      c10::IValue::make_capsule(c10::intrusive_ptr<torch::CustomClassHolder>(exchange));
}

ExchangePtr kept(AutogradContext* ctx) {
  return c10::static_intrusive_pointer_cast<Exchange>(ctx->saved_data["exchange"].toCapsule());
}

Transfer start_transfer(const at::Tensor& rows, const std::vector<int64_t>& sent,
                        const std::vector<int64_t>& received, Communicator& ep) {
  if (ep.size() == 1) return {rows, nullptr};
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = std::accumulate(received.begin(), received.end(), int64_t{0});
  Transfer transfer{at::empty(shape, rows.options()), nullptr};
  transfer.work = ep.all_to_all_async(transfer.rows, rows.contiguous(), received, sent);
  return transfer;
}

/// Tokens -> arrived rows. With one rank the rows are the tokens.
Transfer send_rows(const at::Tensor& x_NM, const Exchange& e) {
  if (e.ep.size() == 1) return {x_NM, nullptr};
  return start_transfer(x_NM.index_select(0, e.plan->row_tokens_S), e.plan->sent_rows,
                        e.plan->received_rows, e.ep);
}

/// Arrived rows -> the rows that were sent.
Transfer return_rows(const at::Tensor& rows_RM, const Exchange& e) {
  return start_transfer(rows_RM, e.plan->received_rows, e.plan->sent_rows, e.ep);
}

/// Each token's sum over the ranks that it visited.
at::Tensor sum_of_tokens(const at::Tensor& returned_SM, const Exchange& e) {
  if (e.ep.size() == 1) return returned_SM;
  at::Tensor y_NM = at::zeros({e.plan->num_tokens, returned_SM.size(1)}, returned_SM.options());
  return y_NM.index_add_(0, e.plan->row_tokens_S, returned_SM);
}

/// Gate weights of the chosen pairs, in the order of sending.
Transfer send_weights(const at::Tensor& weights_NK, const Exchange& e) {
  return start_transfer(weights_NK.reshape({-1}).index_select(0, e.plan->pair_choices_S),
                        e.plan->sent_pairs, e.plan->received_pairs, e.ep);
}

/// Gradients of gate weights on their way back, as they had come.
Transfer return_weights(const at::Tensor& pairs, const Exchange& e) {
  return start_transfer(pairs, e.plan->received_pairs, e.plan->sent_pairs, e.ep);
}

/// The plan with its indices where the rows are.
std::shared_ptr<const DispatchPlan> plan_on(std::shared_ptr<const DispatchPlan> plan,
                                            at::Device device) {
  if (device.is_cpu()) return plan;
  auto there = std::make_shared<DispatchPlan>(*plan);
  for (at::Tensor* indices :
       {&there->row_tokens_S, &there->pair_choices_S, &there->pair_order_P, &there->pair_rows_P}) {
    *indices = indices->to(device);
  }
  return there;
}

/// A dispatch is two nodes, so that what lies between them in either direction, the shared experts,
/// is computed while rows travel: this one sends in forward and receives in backward.
struct StartFunction : Function<StartFunction> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x_NM,
                               const at::Tensor& weights_NK, const ExchangePtr& e) {
    keep(ctx, e);
    ctx->saved_data["shape"] = weights_NK.sizes().vec();
    e->rows = send_rows(x_NM, *e);
    e->pairs = send_weights(weights_NK, *e);
    const at::Tensor rows = e->rows.rows;
    return {rows.is_same(x_NM) ? x_NM.view_as(x_NM) : rows, e->pairs.rows};
  }

  /// The gradients that come in have the shapes of what arrived; those of what was sent are in the
  /// exchange.
  static variable_list backward(AutogradContext* ctx, variable_list) {
    const ExchangePtr e = kept(ctx);
    const at::Tensor dpairs = e->pairs.finish();
    at::Tensor dweights_NK = at::zeros(ctx->saved_data["shape"].toIntVector(), dpairs.options());
    dweights_NK.view({-1}).index_copy_(0, e->plan->pair_choices_S, dpairs);
    return {sum_of_tokens(e->rows.finish(), *e), dweights_NK, {}};
  }
};

/// Receives in forward, sends in backward.
struct ArriveFunction : Function<ArriveFunction> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& rows_RM,
                               const at::Tensor& pairs, const ExchangePtr& e) {
    keep(ctx, e);
    static_cast<void>(e->rows.finish());
    static_cast<void>(e->pairs.finish());
    return {rows_RM.view_as(rows_RM), pairs.index_select(0, e->plan->pair_order_P)};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const ExchangePtr e = kept(ctx);
    at::Tensor dpairs = at::empty_like(grads[1]);
    dpairs.index_copy_(0, e->plan->pair_order_P, grads[1]);
    e->rows = return_rows(grads[0], *e);
    e->pairs = return_weights(dpairs, *e);
    return {grads[0], dpairs, {}};
  }
};

struct CombineFunction : Function<CombineFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& rows_RM,
                            const ExchangePtr& exchange, bool for_graph) {
    keep(ctx, exchange);
    if (for_graph) return rows_RM.new_zeros({exchange->plan->num_tokens, rows_RM.size(1)});
    return sum_of_tokens(return_rows(rows_RM, *exchange).finish(), *exchange);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    return {send_rows(grads[0], *kept(ctx)).finish(), {}, {}};
  }
};

/// With one rank a row is its token.
at::Tensor rows_of_pairs(const DispatchPlan& plan, const Communicator& ep) {
  return ep.size() > 1 ? plan.pair_rows_P : plan.row_tokens_S.index_select(0, plan.pair_rows_P);
}

}  // namespace

Dispatcher::Dispatcher(std::shared_ptr<const DispatchPlan> plan, Communicator& ep)
    : plan_(std::move(plan)), ep_(ep) {}

InFlight Dispatcher::start(const at::Tensor& x_NM, const at::Tensor& weights_NK) const {
  const auto exchange = c10::make_intrusive<Exchange>(plan_on(plan_, x_NM.device()), ep_);
  const auto results = StartFunction::apply(x_NM, weights_NK.to(x_NM.device()), exchange);
  return {results[0], results[1], exchange};
}

Dispatched Dispatcher::arrive(const InFlight& flight) const {
  const auto exchange = c10::static_intrusive_pointer_cast<Exchange>(flight.exchange);
  const auto results = ArriveFunction::apply(flight.rows_RM, flight.pairs, exchange);
  return {results[0], results[1], rows_of_pairs(*exchange->plan, ep_)};
}

at::Tensor Dispatcher::combine(const at::Tensor& rows_RM, bool for_graph) const {
  if (ep_.size() == 1) return rows_RM;
  return CombineFunction::apply(
      rows_RM, c10::make_intrusive<Exchange>(plan_on(plan_, rows_RM.device()), ep_), for_graph);
}

}  // namespace dsmoe::parallel
