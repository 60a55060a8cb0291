#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "parallel/dispatch_plan.h"

namespace dsmoe::parallel {

/// Tokens that arrived at this rank's experts. P pairs in expert order (plan.expert_offsets).
struct Dispatched {
  at::Tensor rows_RM;      ///< one row per (token, this rank)
  at::Tensor weights_P;    ///< the gate weight of each pair
  at::Tensor pair_rows_P;  ///< int64: the row of each pair
};

/// Moves token rows to the ranks of their experts and the experts' sums back, differentiably.
/// Forward and backward use the same immutable plan: backward of dispatch is the combine exchange
/// with the counts swapped, and the other way round.
class Dispatcher {
 public:
  /// ep must outlive the dispatcher and every graph made with it.
  Dispatcher(std::shared_ptr<const DispatchPlan> plan, Communicator& ep);

  /// x_NM: token vectors; weights_NK: gate weights. Differentiable in both.
  /// Collective over ep: rows, then weights; backward the same in reverse.
  /// With one rank the rows are x itself, nothing is copied.
  [[nodiscard]] Dispatched dispatch(const at::Tensor& x_NM, const at::Tensor& weights_NK) const;

  /// rows_RM: per arrived row the weighted sum over its experts here. Returns y_NM: the sum of a
  /// token's rows in ascending rank order; zero for a token that was sent nowhere.
  /// Collective over ep.
  [[nodiscard]] at::Tensor combine(const at::Tensor& rows_RM) const;

  [[nodiscard]] const DispatchPlan& plan() const { return *plan_; }

 private:
  std::shared_ptr<const DispatchPlan> plan_;
  Communicator& ep_;
};

}  // namespace dsmoe::parallel
