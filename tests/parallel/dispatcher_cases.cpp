// Tokens to their experts' ranks and back, against the formula on one rank.
#include "parallel/dispatcher.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>
#include <vector>

#include "parallel/recording_communicator.h"
#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"

namespace dsmoe::test {
namespace {

using parallel::Communicator;
using parallel::Dispatched;
using parallel::Dispatcher;
using parallel::DispatchPlan;
using parallel::RecordingCommunicator;

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
at::Tensor multiply(const Dispatched& in, const DispatchPlan& plan, int64_t rank) {
  at::Tensor factor_P = at::zeros({plan.pairs_received()}, at::kDouble);
  for (size_t e = 0; e + 1 < plan.expert_offsets.size(); ++e) {
    factor_P.slice(0, plan.expert_offsets[e], plan.expert_offsets[e + 1])
        .fill_(static_cast<double>(2 * rank + static_cast<int64_t>(e) + 1));
  }
  const at::Tensor pairs_PM =
      in.rows_RM.index_select(0, in.pair_rows_P) * (in.weights_P * factor_P).unsqueeze(1);
  return at::zeros_like(in.rows_RM).index_add(0, in.pair_rows_P, pairs_PM);
}

bool near(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && (a - b).abs().max().item<double>() < 1e-14;
}

Failures moves_tokens_and_gradients(Communicator& ep) {
  Checks checks;
  const Layer layer(ep);
  const auto plan = std::make_shared<const DispatchPlan>(
      plan_dispatch(layer.experts_NK, layer.kept_NK, layer.experts, ep));
  const Dispatcher dispatcher(plan, ep);
  const Dispatched arrived = dispatcher.dispatch(layer.x_NM, layer.weights_NK);
  const at::Tensor y_NM = dispatcher.combine(multiply(arrived, *plan, ep.rank()));
  const at::Tensor wanted_NM = layer.expected();
  checks.that(near(y_NM, wanted_NM), "the combined rows are the formula's");
  const at::Tensor pull_NM = at::sin(at::arange(kTokens * kWidth, at::kDouble) * 7).view_as(y_NM);
  const auto got = torch::autograd::grad({y_NM}, {layer.x_NM, layer.weights_NK}, {pull_NM});
  const auto want = torch::autograd::grad({wanted_NM}, {layer.x_NM, layer.weights_NK}, {pull_NM});
  checks.that(near(got[0], want[0]), "the gradient of the tokens is the formula's");
  checks.that(near(got[1], want[1]), "the gradient of the gate weights is the formula's");
  return checks.failures();
}

/// What is computed between start and arrive runs, in backward, after its exchange was started and
/// before it is waited for.
Failures leaves_time_between(Communicator& ep) {
  Checks checks;
  const Layer layer(ep);
  RecordingCommunicator recorded(ep);
  const auto exchanges = [&] { return recorded.counters()["all_to_all"].calls; };
  const auto plan = std::make_shared<const DispatchPlan>(
      plan_dispatch(layer.experts_NK, layer.kept_NK, layer.experts, recorded));
  recorded.reset();
  const Dispatcher dispatcher(plan, recorded);
  const auto flight = dispatcher.start(layer.x_NM, layer.weights_NK);
  const int64_t sent = exchanges();
  const at::Tensor between_NM = layer.x_NM * 3.0;
  int64_t before_between = -1;
  between_NM.register_hook([&](const at::Tensor&) { before_between = exchanges(); });
  const at::Tensor y_NM =
      dispatcher.combine(multiply(dispatcher.arrive(flight), *plan, ep.rank())) + between_NM;
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
                       leaves_time_between);

}  // namespace
}  // namespace dsmoe::test
