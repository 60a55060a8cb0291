#include "modules/router.h"

#include <string>
#include <vector>

#include "modules/balance_loss.h"
#include "tests/modules/golden.h"
#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

config::ModelConfig golden_config(const nlohmann::json& value, const std::string& method) {
  config::ModelConfig config;
  config.n_routed_experts = value.at("n_routed_experts");
  config.n_group = value.at("n_group");
  config.topk_group = value.at("topk_group");
  config.num_experts_per_tok = value.at("num_experts_per_tok");
  config.topk_method =
      method == "greedy" ? config::TopkMethod::kGreedy : config::TopkMethod::kGroupLimitedGreedy;
  config.group_score =
      method == "top2_sum" ? config::GroupScore::kTop2Sum : config::GroupScore::kMax;
  return config;
}

config::ModelConfig four_groups() {
  config::ModelConfig config;
  config.n_routed_experts = 8;
  config.n_group = 4;
  config.topk_group = 2;
  config.num_experts_per_tok = 3;
  return config;
}

TEST_CASE("the router makes the golden choices in order with the golden weights") {
  const auto root = test::golden("router");
  REQUIRE(root.at("cases").size() == 3);
  const at::Tensor logits_NE = test::to_matrix<double>(root.at("logits"));
  for (const auto& wanted : root.at("cases")) {
    const std::string method = wanted.at("method");
    CAPTURE(method);
    const auto config = golden_config(root.at("config"), method);
    for (const auto dtype : {at::kDouble, at::kFloat}) {
      const Routing routing = route(logits_NE.to(dtype), {}, config);
      CHECK(at::equal(routing.experts_NK, test::to_matrix<int64_t>(wanted.at("experts"))));
      CHECK(test::gap(routing.weights_NK, test::to_matrix<double>(wanted.at("weights"))) <
            (dtype == at::kDouble ? 1e-14 : 1e-6));
      CHECK(routing.scores_NE.scalar_type() == dtype);
    }
  }
}

TEST_CASE("counts, visits and the three losses of the golden routes") {
  const auto root = test::golden("router");
  REQUIRE(root.at("cases").size() == 3);
  const at::Tensor logits_NE = test::to_matrix<double>(root.at("logits"));
  for (const auto& wanted : root.at("cases")) {
    const std::string method = wanted.at("method");
    CAPTURE(method);
    const auto config = golden_config(root.at("config"), method);
    const Routing routing = route(logits_NE, {}, config);
    const auto& counts = wanted.at("counts");
    const auto one = LossUnits::each(Segments({0, logits_NE.size(0)}));
    const at::Tensor pairs_UE = count_pairs(routing.experts_NK, {}, one, config);
    const at::Tensor visits_UD = count_visits(routing.experts_NK, {}, one, config);
    CHECK(pairs_UE[0].equal(torch::tensor(counts.at("expert").get<std::vector<int64_t>>())));
    CHECK(visits_UD[0].equal(torch::tensor(counts.at("visits").get<std::vector<int64_t>>())));
    CHECK(pairs_UE.view({4, 2}).sum(1).equal(
        torch::tensor(counts.at("device").get<std::vector<int64_t>>())));
    const RoutingRecord record{0, routing.scores_NE, routing.experts_NK, {}, {}, routing.logits_NE};
    const BalanceLosses losses =
        balance_losses(record, count_routing(record, one, {}, config), one, config);
    const auto& loss = wanted.at("loss");
    CHECK(losses.expert_U.item<double>() == Approx(loss.at("expert").get<double>()).epsilon(1e-12));
    CHECK(losses.device_U.item<double>() == Approx(loss.at("device").get<double>()).epsilon(1e-12));
    CHECK(losses.communication_U.item<double>() ==
          Approx(loss.at("communication").get<double>()).epsilon(1e-12));
  }
}

TEST_CASE("ties between experts and between groups go to the lower id") {
  auto config = four_groups();
  const at::Tensor equal_NE = at::full({1, 8}, 0.125, at::kDouble);
  CHECK(select_experts(equal_NE, config).equal(torch::tensor({{0, 1, 2}}, at::kLong)));
  // Groups 1 and 3 tie behind group 2; experts 2 and 5 tie within what is left.
  const at::Tensor tied_NE = torch::tensor({{0.0, 0.1, 0.2, 0.0, 0.3, 0.2, 0.2, 0.2}}, at::kDouble);
  CHECK(select_experts(tied_NE, config).equal(torch::tensor({{4, 2, 5}}, at::kLong)));
  config.topk_method = config::TopkMethod::kGreedy;
  CHECK(select_experts(tied_NE, config).equal(torch::tensor({{4, 2, 5}}, at::kLong)));
}

TEST_CASE("experts outside the best groups are out even where scores underflow to zero") {
  auto config = four_groups();
  config.num_experts_per_tok = 4;
  const at::Tensor logits_NE =
      torch::tensor({{0.0, 0.0, 0.0, 0.0, 900.0, 0.0, 800.0, 0.0}}, at::kDouble);
  const Routing routing = route(logits_NE, {}, config);
  REQUIRE(routing.scores_NE.count_nonzero().item<int64_t>() == 2);
  CHECK(routing.experts_NK.equal(torch::tensor({{4, 6, 5, 7}}, at::kLong)));
}

TEST_CASE("gate weights are softmax values, normalised before scaling and only when asked") {
  auto config = four_groups();
  const at::Tensor logits_NE = test::random({16, 8}, 3);
  const at::Tensor experts_NK = route(logits_NE, {}, config).experts_NK;
  const at::Tensor raw_NK = at::softmax(logits_NE, 1).gather(1, experts_NK);
  const at::Tensor normal_NK = raw_NK / raw_NK.sum(1, true);
  for (const bool normalise : {false, true}) {
    for (const double scale : {1.0, 16.0}) {
      CAPTURE(normalise, scale);
      config.norm_topk_prob = normalise;
      config.routed_scaling_factor = scale;
      const Routing routing = route(logits_NE, {}, config);
      CHECK(routing.experts_NK.equal(experts_NK));
      CHECK(test::gap(routing.weights_NK, (normalise ? normal_NK : raw_NK) * scale) < 1e-14);
    }
  }
}

TEST_CASE("V3's bias moves the choice and is neither in the weights nor in the gradient") {
  auto config = four_groups();
  config.scoring_func = config::ScoringFunc::kSigmoid;
  config.topk_method = config::TopkMethod::kNoauxTc;
  config.group_score = config::GroupScore::kTop2Sum;
  config.norm_topk_prob = true;
  config.routed_scaling_factor = 2.5;
  at::Tensor logits_NE = at::zeros({1, 8}, at::kDouble).set_requires_grad(true);
  const at::Tensor bias_E = torch::tensor({0.3, 0.0, -9.0, -9.0, 0.1, 0.1, 0.0, 0.15}, at::kDouble)
                                .set_requires_grad(true);
  const Routing routing = route(logits_NE, bias_E, config);
  // Groups by their best two: 1.3, -17, 1.2, 1.15; so experts of groups 0 and 2.
  CHECK(routing.experts_NK.equal(torch::tensor({{0, 4, 5}}, at::kLong)));
  CHECK(test::gap(routing.weights_NK, at::full({1, 3}, 2.5 / 3, at::kDouble)) < 1e-15);
  (routing.weights_NK * torch::tensor({1.0, 2.0, 4.0})).sum().backward();
  CHECK(logits_NE.grad()[0][2].item<double>() == 0.0);
  CHECK(logits_NE.grad()[0][5].item<double>() > 0.0);
  CHECK_FALSE(bias_E.grad().defined());
}

TEST_CASE("the gate's gradient in input and weight is that of its gate weights") {
  auto config = four_groups();
  config.hidden_size = 5;
  config.routed_scaling_factor = 2.5;
  config.norm_topk_prob = GENERATE(false, true);
  config.scoring_func = GENERATE(config::ScoringFunc::kSoftmax, config::ScoringFunc::kSigmoid);
  // The noise of two sequences, or none.
  const RouterVariation variation{GENERATE(0.0, 0.3), false, {4, 5}, {17, 18}};
  Router gate(config);
  test::randomize(*gate, 11);
  const at::Tensor u_NM = test::random({6, 5}, 1).requires_grad_();
  const at::Tensor pull_NK = test::random({6, 3}, 2);
  const auto f = [&] {
    return (gate(u_NM, 1, variation).weights_NK * pull_NK).sum().item<double>();
  };
  (gate(u_NM, 1, variation).weights_NK * pull_NK).sum().backward();
  const at::Tensor weight = gate->parameters().front();
  CHECK(test::gradient_error(f, u_NM.detach(), u_NM.grad()) < 1e-8);
  CHECK(test::gradient_error(f, weight.detach(), weight.grad()) < 1e-8);
}

TEST_CASE("the gate computes in float32 for a bf16 model and takes no rows") {
  auto config = four_groups();
  config.hidden_size = 5;
  Router gate(config);
  test::randomize(*gate, 4);
  gate->to(at::kBFloat16);
  const at::Tensor u_NM = test::random({6, 5}, 1).to(at::kBFloat16);
  const Routing routing = gate(u_NM, 0, RouterVariation{});
  const at::Tensor weight = gate->parameters().front();
  CHECK(routing.scores_NE.scalar_type() == at::kFloat);
  CHECK(test::gap(routing.scores_NE,
                  at::softmax(at::mm(u_NM.to(at::kFloat), weight.to(at::kFloat).t()), 1)) < 1e-6);
  CHECK(gate(u_NM.slice(0, 0, 0), 0, RouterVariation{}).experts_NK.sizes() ==
        at::IntArrayRef({0, 3}));
}

}  // namespace
}  // namespace dsmoe::nn
