// Tokens to their experts' ranks and back, against the formula on one rank.
#include "parallel/expert_route.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>
#include <set>
#include <vector>

#include "parallel/recording_communicator.h"
#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"

namespace dsmoe::test {
namespace {

using parallel::Communicator;
using parallel::Dispatched;
using parallel::ExpertGroup;
using parallel::ExpertRoute;
using parallel::RecordingCommunicator;
using parallel::RouteDispatcher;

constexpr int64_t kTokens = 7;
constexpr int64_t kChoices = 3;
constexpr int64_t kWidth = 2;

/// Two experts a rank; token n of rank r chooses experts that no simple pattern joins, and drops
/// some. Expert e multiplies by e + 1.
struct Layer {
  int64_t experts;
  at::Tensor x_NM, weights_NK, experts_NK, kept_NK;

  explicit Layer(const Communicator& ep) : experts(2 * ep.size()) {
    const at::Tensor n = at::arange(kTokens, at::kLong).unsqueeze(1) + ep.rank() * 5;
    const at::Tensor k = at::arange(kChoices, at::kLong).unsqueeze(0);
    // Distinct choices need as many experts as choices; one rank has two, and chooses them apart.
    experts_NK = (n * n + k).remainder(experts);
    kept_NK = (n + k).remainder(5).ne(0).logical_and(k.lt(experts));
    x_NM = at::sin(at::arange(kTokens * kWidth, at::kDouble).view({kTokens, kWidth}) +
                   static_cast<double>(ep.rank()))
               .requires_grad_();
    weights_NK = at::cos((n * 3 + k).to(at::kDouble)).requires_grad_();
  }

  /// sum over kept choices of weight * (expert + 1) * x.
  [[nodiscard]] at::Tensor expected() const {
    const at::Tensor factor_NK = weights_NK * (experts_NK + 1).to(at::kDouble) * kept_NK;
    return x_NM * factor_NK.sum(1, /*keepdim=*/true);
  }
};

/// The experts of this rank on what arrived.
at::Tensor multiply(const Dispatched& in, const ExpertRoute& route, int64_t rank) {
  const std::vector<int64_t>& offsets = route.expert_offsets();
  at::Tensor factor_P = at::zeros({offsets.back()}, at::kDouble);
  for (size_t e = 0; e + 1 < offsets.size(); ++e) {
    factor_P.slice(0, offsets[e], offsets[e + 1])
        .fill_(static_cast<double>(2 * rank + static_cast<int64_t>(e) + 1));
  }
  const at::Tensor pairs_PM =
      in.rows_RM.index_select(0, in.pair_rows_P) * (in.weights_P * factor_P).unsqueeze(1);
  return at::zeros_like(in.rows_RM).index_add(0, in.pair_rows_P, pairs_PM);
}

bool near(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && (a - b).abs().max().item<double>() < 1e-14;
}

void compare_with_formula(Checks& checks, const Layer& layer, const ExpertGroup& ep) {
  const auto route = std::make_shared<const ExpertRoute>(
      plan_route(layer.experts_NK, layer.kept_NK, layer.experts, ep));
  const RouteDispatcher dispatcher(route, ep);
  const Dispatched arrived = dispatcher.dispatch(layer.x_NM, layer.weights_NK);
  const at::Tensor y_NM = dispatcher.combine(multiply(arrived, *route, ep.rank()));
  const at::Tensor wanted_NM = layer.expected();
  checks.that(near(y_NM, wanted_NM), "the combined rows are the formula's");
  const at::Tensor pull_NM = at::sin(at::arange(kTokens * kWidth, at::kDouble) * 7).view_as(y_NM);
  const auto got = torch::autograd::grad({y_NM}, {layer.x_NM, layer.weights_NK}, {pull_NM});
  const auto want = torch::autograd::grad({wanted_NM}, {layer.x_NM, layer.weights_NK}, {pull_NM});
  checks.that(near(got[0], want[0]), "the gradient of the tokens is the formula's");
  checks.that(near(got[1], want[1]), "the gradient of the gate weights is the formula's");
}

Failures moves_tokens_and_gradients(Communicator& ep) {
  Checks checks;
  compare_with_formula(checks, Layer(ep), ep);
  return checks.failures();
}

/// Nodes of so many consecutive ranks.
struct Nodes {
  Nodes(Communicator& ep, int64_t ranks_per_node)
      : across(ep.split(ep.rank() % ranks_per_node, ep.rank() / ranks_per_node, "ep_across")),
        within(ep.split(ep.rank() / ranks_per_node, ep.rank() % ranks_per_node, "ep_within")),
        group(ep, across.get(), within.get()) {}

  std::unique_ptr<Communicator> across, within;
  ExpertGroup group;
};

/// Nodes other than this rank's that tokens have experts on.
int64_t visits_of_nodes(const Layer& layer, int64_t experts_per_node, int64_t own_node) {
  int64_t visits = 0;
  for (int64_t n = 0; n < kTokens; ++n) {
    std::set<int64_t> nodes;
    for (int64_t k = 0; k < kChoices; ++k) {
      if (!layer.kept_NK[n][k].item<bool>()) continue;
      nodes.insert(layer.experts_NK[n][k].item<int64_t>() / experts_per_node);
    }
    visits += static_cast<int64_t>(nodes.size() - nodes.count(own_node));
  }
  return visits;
}

/// Rows cross to a node once; what the ranks make of them is what they make of direct ones.
Failures crosses_to_a_node_once(Communicator& ep) {
  Checks checks;
  for (int64_t ranks_per_node = 2; ranks_per_node < ep.size(); ranks_per_node *= 2) {
    RecordingCommunicator recorded(ep);
    Nodes nodes(recorded, ranks_per_node);
    const Layer layer(ep);
    compare_with_formula(checks, layer, nodes.group);
    recorded.reset();
    const auto route = std::make_shared<const ExpertRoute>(
        plan_route(layer.experts_NK, layer.kept_NK, layer.experts, nodes.group));
    const int64_t planned = total(recorded.log(), "all_to_all").bytes;
    const auto arrived = RouteDispatcher(route, nodes.group).dispatch(layer.x_NM, layer.weights_NK);
    static_cast<void>(arrived);
    const auto& across = *route->hops.front();
    const int64_t visits = visits_of_nodes(layer, 2 * ranks_per_node, ep.rank() / ranks_per_node);
    checks.equal(across.remote_rows, visits, "rows to other nodes");
    const auto sent = parallel::TrafficLog(recorded.log()).at("ep_across").at("all_to_all").bytes;
    constexpr int64_t kDouble = 8;
    checks.equal(sent, across.metadata_bytes + kDouble * (kWidth * visits + across.remote_pairs),
                 "bytes to other nodes");
    checks.that(planned > 0, "the plan is exchanged");
  }
  return checks.failures();
}

/// No token leaves its node, or none stays, or there is none at all: every exchange is still made.
Failures crosses_with_nothing(Communicator& ep) {
  Checks checks;
  if (ep.size() < 4) return {};
  Nodes nodes(ep, ep.size() / 2);
  for (const bool home : {true, false}) {
    Layer layer(ep);
    const int64_t half = layer.experts / 2;
    const bool first_node = ep.rank() < ep.size() / 2;
    layer.experts_NK = layer.experts_NK.remainder(half) + (first_node == home ? 0 : half);
    compare_with_formula(checks, layer, nodes.group);
  }
  Layer layer(ep);
  layer.kept_NK = at::zeros_like(layer.kept_NK);
  compare_with_formula(checks, layer, nodes.group);
  return checks.failures();
}

/// What is computed between start and arrive runs, in backward, after its exchange was started and
/// before it is waited for.
Failures leaves_time_between(Communicator& ep) {
  Checks checks;
  const Layer layer(ep);
  RecordingCommunicator recorded(ep);
  const auto exchanges = [&] { return recorded.counters()["all_to_all"].calls; };
  const auto route = std::make_shared<const ExpertRoute>(
      plan_route(layer.experts_NK, layer.kept_NK, layer.experts, recorded));
  recorded.reset();
  const RouteDispatcher dispatcher(route, recorded);
  const auto flight = dispatcher.start(layer.x_NM, layer.weights_NK);
  const int64_t sent = exchanges();
  const at::Tensor between_NM = layer.x_NM * 3.0;
  int64_t before_between = -1;
  between_NM.register_hook([&](const at::Tensor&) { before_between = exchanges(); });
  const at::Tensor y_NM =
      dispatcher.combine(multiply(dispatcher.arrive(flight), *route, ep.rank())) + between_NM;
  const auto got = torch::autograd::grad({y_NM.sum()}, {layer.x_NM});
  const int64_t each = ep.size() > 1 ? 1 : 0;
  checks.equal(sent, 2 * each, "exchanges under way after start");
  checks.equal(before_between, 6 * each, "exchanges started before the part between runs backward");
  checks.equal(exchanges(), 6 * each, "exchanges of forward and backward");
  const auto want = torch::autograd::grad({layer.expected().sum()}, {layer.x_NM});
  checks.that(near(got[0], want[0] + 3.0), "the gradient adds up");
  return checks.failures();
}

const bool registered =
    register_rank_case("dispatcher: moves tokens, weights and gradients",
                       moves_tokens_and_gradients) &&
    register_rank_case("dispatcher: leaves time between start and arrive, both ways",
                       leaves_time_between) &&
    register_rank_case("dispatcher: with nodes, a row crosses to a node once",
                       crosses_to_a_node_once) &&
    register_rank_case("dispatcher: with nodes, nothing crosses or nothing stays",
                       crosses_with_nothing);

}  // namespace
}  // namespace dsmoe::test
