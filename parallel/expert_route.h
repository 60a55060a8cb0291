#pragma once

#include <memory>
#include <vector>

#include "parallel/dispatcher.h"
#include "parallel/expert_group.h"

namespace dsmoe::parallel {

/// The exchanges that bring a layer's tokens to their experts: one among all ranks of the group;
/// or, where these span nodes, one across and one within. A row then goes to the rank of its own
/// place in each node that it visits, once, and from there to the ranks of its experts. A value,
/// made once per forward and used again by backward and recompute.
struct ExpertRoute {
  std::vector<std::shared_ptr<const DispatchPlan>> hops;  ///< 1 or 2, first to last
  /// Of two hops: the choices that came across, as a table of `columns` for each arrived row.
  /// int64, the place of each pair, in the first hop's order.
  at::Tensor places_P;
  int64_t columns = 0;

  /// e + 1 values: the pairs of each expert here.
  [[nodiscard]] const std::vector<int64_t>& expert_offsets() const {
    return hops.back()->expert_offsets;
  }
  /// (token, rank) visits that leave this rank's part of the last hop, its own included: their sum
  /// over all ranks is that of the ranks that each token visits.
  [[nodiscard]] int64_t rank_visits() const;
};

/// Plans the way of the chosen experts; arguments as plan_dispatch's. Collective over the group.
[[nodiscard]] ExpertRoute plan_route(const at::Tensor& experts_NK, const at::Tensor& kept_NK,
                                     int64_t num_experts, const ExpertGroup& group);

/// Moves rows along a route and the experts' sums back, differentiably: a Dispatcher for each hop.
/// What is computed between start and arrive overlaps with the first, which is the slow one.
class RouteDispatcher {
 public:
  /// The group's communicators must outlive this and every graph made with it.
  RouteDispatcher(std::shared_ptr<const ExpertRoute> route, const ExpertGroup& group);

  /// As Dispatcher's. Collective over the group.
  [[nodiscard]] InFlight start(const at::Tensor& x_NM, const at::Tensor& weights_NK) const;
  [[nodiscard]] Dispatched arrive(const InFlight& flight) const;
  [[nodiscard]] Dispatched dispatch(const at::Tensor& x_NM, const at::Tensor& weights_NK) const {
    return arrive(start(x_NM, weights_NK));
  }
  /// A token's rows are summed within each node in ascending rank order, then over the nodes.
  [[nodiscard]] at::Tensor combine(const at::Tensor& rows_RM, bool for_graph = false) const;

 private:
  std::shared_ptr<const ExpertRoute> route_;
  std::vector<Dispatcher> hops_;
};

}  // namespace dsmoe::parallel
