#include "parallel/expert_route.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <numeric>

namespace dsmoe::parallel {
namespace {

/// The choices of the tokens that came across, as a router's: experts of this node, in tables.
struct Choices {
  at::Tensor experts_RK;  ///< int64
  at::Tensor kept_RK;     ///< bool: whether the place is taken
  at::Tensor places_P;    ///< see ExpertRoute
};

/// Of any token that came across, the most pairs.
int64_t most_pairs(const DispatchPlan& across) {
  std::vector<int64_t> pairs(static_cast<size_t>(across.rows_received()));
  const auto* row_of = across.pair_rows_P.const_data_ptr<int64_t>();
  for (int64_t p = 0; p < across.pairs_received(); ++p) ++pairs[static_cast<size_t>(row_of[p])];
  return pairs.empty() ? 0 : *std::max_element(pairs.begin(), pairs.end());
}

Choices choices_of(const DispatchPlan& across, int64_t columns) {
  const int64_t rows = across.rows_received();
  Choices choices{at::zeros({rows, columns}, at::kLong), at::zeros({rows, columns}, at::kBool),
                  at::empty({across.pairs_received()}, at::kLong)};
  const auto* row_of = across.pair_rows_P.const_data_ptr<int64_t>();
  auto* experts = choices.experts_RK.mutable_data_ptr<int64_t>();
  auto* kept = choices.kept_RK.mutable_data_ptr<bool>();
  auto* places = choices.places_P.mutable_data_ptr<int64_t>();
  std::vector<int64_t> taken(static_cast<size_t>(rows));
  for (size_t e = 0; e + 1 < across.expert_offsets.size(); ++e) {
    for (int64_t p = across.expert_offsets[e]; p < across.expert_offsets[e + 1]; ++p) {
      const int64_t place = row_of[p] * columns + taken[static_cast<size_t>(row_of[p])]++;
      experts[place] = static_cast<int64_t>(e);
      kept[place] = true;
      places[p] = place;
    }
  }
  return choices;
}

/// Gate weights in the order of arrival -> in the second hop's table.
at::Tensor table_of(const at::Tensor& weights_P, int64_t rows, const ExpertRoute& route) {
  return at::zeros({rows * route.columns}, weights_P.options())
      .index_copy(0, route.places_P.to(weights_P.device()), weights_P)
      .view({rows, route.columns});
}

}  // namespace

int64_t ExpertRoute::rank_visits() const {
  const auto& sent = hops.back()->sent_rows;
  return std::accumulate(sent.begin(), sent.end(), int64_t{0});
}

ExpertRoute plan_route(const at::Tensor& experts_NK, const at::Tensor& kept_NK, int64_t num_experts,
                       const ExpertGroup& group) {
  ExpertRoute route;
  const auto add_hop = [&](const at::Tensor& experts, const at::Tensor& kept, int64_t count,
                           Communicator& ranks) {
    route.hops.push_back(
        std::make_shared<const DispatchPlan>(plan_dispatch(experts, kept, count, ranks)));
  };
  add_hop(experts_NK, kept_NK, num_experts, group.spans_nodes() ? *group.across : *group.all);
  if (!group.spans_nodes()) return route;
  const DispatchPlan& across = *route.hops.front();
  route.columns = most_pairs(across);
  const Choices choices = choices_of(across, route.columns);
  route.places_P = choices.places_P;
  add_hop(choices.experts_RK, choices.kept_RK, num_experts / group.across->size(), *group.within);
  return route;
}

RouteDispatcher::RouteDispatcher(std::shared_ptr<const ExpertRoute> route, const ExpertGroup& group)
    : route_(std::move(route)) {
  hops_.emplace_back(route_->hops.front(), group.spans_nodes() ? *group.across : *group.all);
  if (group.spans_nodes()) hops_.emplace_back(route_->hops.back(), *group.within);
}

InFlight RouteDispatcher::start(const at::Tensor& x_NM, const at::Tensor& weights_NK) const {
  return hops_.front().start(x_NM, weights_NK);
}

Dispatched RouteDispatcher::arrive(const InFlight& flight) const {
  const Dispatched arrived = hops_.front().arrive(flight);
  if (hops_.size() == 1) return arrived;
  return hops_.back().dispatch(arrived.rows_RM,
                               table_of(arrived.weights_P, arrived.rows_RM.size(0), *route_));
}

at::Tensor RouteDispatcher::combine(const at::Tensor& rows_RM, bool for_graph) const {
  at::Tensor y_NM = rows_RM;
  for (auto hop = hops_.rbegin(); hop != hops_.rend(); ++hop) y_NM = hop->combine(y_NM, for_graph);
  return y_NM;
}

}  // namespace dsmoe::parallel
