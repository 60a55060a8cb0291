#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <memory>

#include "parallel/dispatch_plan.h"

namespace dsmoe::parallel {

/// Tokens that arrived at this rank's experts. P pairs in expert order (plan.expert_offsets).
struct Dispatched {
  at::Tensor rows_RM;      ///< one row per (token, this rank)
  at::Tensor weights_P;    ///< the gate weight of each pair
  at::Tensor pair_rows_P;  ///< int64: the row of each pair
};

/// Rows under way to the ranks of their experts; nothing here may be read before they arrive.
struct InFlight {
  at::Tensor rows_RM;
  at::Tensor pairs;
  c10::intrusive_ptr<torch::CustomClassHolder> exchange;
};

/// Moves token rows to the ranks of their experts and the experts' sums back, differentiably.
/// Forward and backward use the same immutable plan: backward of dispatch is the combine exchange
/// with the counts swapped, and the other way round.
class Dispatcher {
 public:
  /// ep must outlive the dispatcher and every graph made with it.
  Dispatcher(std::shared_ptr<const DispatchPlan> plan, Communicator& ep);

  /// x_NM: token vectors, where the group serves them; weights_NK: gate weights, also on the host.
  /// Differentiable in both. Sends, and returns before anything has arrived: what needs none of it,
  /// such as the shared experts, is computed between start and arrive, and its backward then runs
  /// while gradients travel back. Collective over ep: rows, then weights; backward the same in
  /// reverse. No other collective on ep in between. With one rank the rows are x itself, nothing is
  /// copied.
  [[nodiscard]] InFlight start(const at::Tensor& x_NM, const at::Tensor& weights_NK) const;
  [[nodiscard]] Dispatched arrive(const InFlight& flight) const;
  [[nodiscard]] Dispatched dispatch(const at::Tensor& x_NM, const at::Tensor& weights_NK) const {
    return arrive(start(x_NM, weights_NK));
  }

  /// rows_RM: per arrived row the weighted sum over its experts here. Returns y_NM: the sum of a
  /// token's rows in ascending rank order; zero for a token that was sent nowhere.
  /// for_graph: only the backward pass is of use, nothing is sent and the result is zero.
  /// Collective over ep.
  [[nodiscard]] at::Tensor combine(const at::Tensor& rows_RM, bool for_graph = false) const;

  [[nodiscard]] const DispatchPlan& plan() const { return *plan_; }

 private:
  std::shared_ptr<const DispatchPlan> plan_;
  Communicator& ep_;
};

}  // namespace dsmoe::parallel
