#include "modules/balance_loss.h"

#include <torch/csrc/autograd/autograd.h>

#include <vector>

#include "modules/router.h"
#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

constexpr int64_t kExperts = 8;
constexpr int64_t kGroups = 4;

config::ModelConfig four_groups() {
  config::ModelConfig config;
  config.n_routed_experts = kExperts;
  config.n_group = kGroups;
  config.topk_group = 2;
  config.num_experts_per_tok = 4;
  return config;
}

/// Token t takes all experts of groups 2t and 2t + 1, modulo 4.
at::Tensor round_robin(int64_t tokens) {
  const at::Tensor first_N1 = (at::arange(tokens, at::kLong) * 4 % kExperts).unsqueeze(1);
  return first_N1 + at::arange(4, at::kLong);
}

RoutingRecord record_of(const at::Tensor& scores_NE, const at::Tensor& experts_NK) {
  return {0, scores_NE, experts_NK, {}, {}, scores_NE.log()};
}

RoutingRecord random_record(int64_t tokens, int64_t seed, const config::ModelConfig& config) {
  const Routing routing = route(test::random({tokens, kExperts}, seed), {}, config);
  return record_of(routing.scores_NE, routing.experts_NK);
}

BalanceLosses losses_of(const RoutingRecord& record, const LossUnits& units,
                        const config::ModelConfig& config) {
  return balance_losses(record, count_routing(record, units, {}, config), units, config);
}

/// Whole sequences of these rows.
BalanceLosses losses_of(const RoutingRecord& record, const at::Tensor& valid_N,
                        const Segments& sequences, const config::ModelConfig& config) {
  return losses_of(record, LossUnits::each(sequences, valid_N), config);
}

std::vector<at::Tensor> all_of(const BalanceLosses& losses) {
  return {losses.expert_U, losses.device_U, losses.communication_U};
}

TEST_CASE("every balance loss is one at uniform load, whatever the affinities") {
  const at::Tensor uniform_NE = at::full({12, kExperts}, 1.0 / kExperts, at::kDouble);
  const at::Tensor random_NE = at::softmax(test::random({12, kExperts}, 5), 1);
  for (const at::Tensor& scores_NE : {uniform_NE, random_NE}) {
    const auto losses = losses_of(record_of(scores_NE, round_robin(12)), {},
                                  Segments::uniform(3, 4), four_groups());
    for (const at::Tensor& loss_U : all_of(losses)) {
      CHECK(test::gap(loss_U, at::ones({3}, at::kDouble)) < 1e-14);
    }
  }
}

TEST_CASE("uniform affinities give one for any choice, if every token visits M groups") {
  const at::Tensor scores_NE = at::full({12, kExperts}, 1.0 / kExperts, at::kDouble);
  const at::Tensor experts_NK = torch::tensor({{0, 1, 2, 4}}, at::kLong).repeat({12, 1});
  auto config = four_groups();
  config.topk_group = 3;
  for (const at::Tensor& loss_U :
       all_of(losses_of(record_of(scores_NE, experts_NK), {}, Segments::uniform(2, 6), config))) {
    CHECK(test::gap(loss_U, at::ones({2}, at::kDouble)) < 1e-14);
  }
}

TEST_CASE("a sequence that sends everything to one group costs most") {
  at::Tensor scores_NE = at::zeros({6, kExperts}, at::kDouble);
  scores_NE.slice(1, 0, 2).fill_(0.5);
  auto config = four_groups();
  config.num_experts_per_tok = 2;
  const at::Tensor experts_NK = torch::tensor({{1, 0}}, at::kLong).repeat({6, 1});
  const auto losses =
      losses_of(record_of(scores_NE, experts_NK), {}, Segments::uniform(1, 6), config);
  CHECK(losses.expert_U.item<double>() == Approx(4.0));         // E / K
  CHECK(losses.device_U.item<double>() == Approx(4.0));         // D
  CHECK(losses.communication_U.item<double>() == Approx(2.0));  // D / M: one visit a token
}

TEST_CASE("padding never counts: padded sequences equal those cut short, bit by bit") {
  const auto config = four_groups();
  const std::vector<int64_t> lengths{4, 9, 1};
  const RoutingRecord padded = random_record(3 * 9, 7, config);
  at::Tensor valid_BT = at::zeros({3, 9}, at::kBool);
  for (int64_t b = 0; b < 3; ++b) valid_BT[b].slice(0, 0, lengths[static_cast<size_t>(b)]).fill_(1);
  const auto all = losses_of(padded, valid_BT, Segments::uniform(3, 9), config);
  for (int64_t b = 0; b < 3; ++b) {
    const int64_t end = b * 9 + lengths[static_cast<size_t>(b)];
    const auto cut = record_of(padded.scores_NE.slice(0, b * 9, end).contiguous(),
                               padded.experts_NK.slice(0, b * 9, end).contiguous());
    const auto one = losses_of(cut, {}, Segments({0, end - b * 9}), config);
    CHECK(all.expert_U[b].equal(one.expert_U[0]));
    CHECK(all.device_U[b].equal(one.device_U[0]));
    CHECK(all.communication_U[b].equal(one.communication_U[0]));
    CHECK(count_pairs(padded.experts_NK, {}, LossUnits::each(Segments::uniform(3, 9), valid_BT),
                      config)[b]
              .equal(count_pairs(cut.experts_NK, {}, LossUnits::each(Segments({0, end - b * 9})),
                                 config)[0]));
  }
}

TEST_CASE("an empty sequence gives zero losses and zero gradient, no batch gives none") {
  const auto config = four_groups();
  RoutingRecord record = random_record(10, 8, config);
  record.scores_NE.requires_grad_();
  const at::Tensor valid_BT = torch::tensor({{false}, {true}}).expand({2, 5}).contiguous();
  const auto losses = losses_of(record, valid_BT, Segments::uniform(2, 5), config);
  at::Tensor sum = at::zeros({}, at::kDouble);
  for (const at::Tensor& loss_U : all_of(losses)) {
    CHECK(loss_U[0].item<double>() == 0.0);
    CHECK(loss_U[1].item<double>() > 0.5);
    sum = sum + loss_U.sum();
  }
  sum.backward();
  CHECK(record.scores_NE.grad().slice(0, 0, 5).count_nonzero().item<int64_t>() == 0);
  CHECK(record.scores_NE.grad().slice(0, 5).count_nonzero().item<int64_t>() > 0);
  const auto none = losses_of(random_record(0, 1, config), {}, Segments(), config);
  for (const at::Tensor& loss_U : all_of(none)) CHECK(loss_U.sizes() == at::IntArrayRef({0}));
}

/// The loss as a function of the router's logits, the choices held where they are.
at::Tensor loss_at(const at::Tensor& logits_NE, const at::Tensor& experts_NK, size_t which,
                   const at::Tensor& valid_BT) {
  const auto record = record_of(at::softmax(logits_NE, 1), experts_NK);
  const at::Tensor loss_U =
      all_of(losses_of(record, valid_BT, Segments::uniform(2, 5), four_groups()))[which];
  return (loss_U * torch::tensor({1.0, -3.0}, at::kDouble)).sum();
}

TEST_CASE("the gradient of each balance loss is that of its affinities, counts being constants") {
  const auto which = static_cast<size_t>(GENERATE(0, 1, 2));
  const bool padded = GENERATE(false, true);
  CAPTURE(which, padded);
  const at::Tensor logits_NE = test::random({10, kExperts}, 9).requires_grad_();
  const at::Tensor experts_NK = route(logits_NE, {}, four_groups()).experts_NK;
  at::Tensor valid_BT;
  if (padded) {
    valid_BT = at::ones({2, 5}, at::kBool);
    valid_BT[1].slice(0, 3).fill_(false);
  }
  loss_at(logits_NE, experts_NK, which, valid_BT).backward();
  const auto f = [&] {
    return loss_at(logits_NE.detach(), experts_NK, which, valid_BT).item<double>();
  };
  CHECK(logits_NE.grad().norm().item<double>() > 1e-3);
  CHECK(test::gradient_error(f, logits_NE.detach(), logits_NE.grad()) < 1e-8);
}

TEST_CASE("the gradient of the expert loss is f / T in every token, V2 (23)-(25)") {
  const auto config = four_groups();
  RoutingRecord record = random_record(6, 10, config);
  record.scores_NE.requires_grad_();
  losses_of(record, {}, Segments::uniform(1, 6), config).expert_U.sum().backward();
  const at::Tensor counts_1E =
      count_pairs(record.experts_NK, {}, LossUnits::each(Segments::uniform(1, 6)), config)
          .to(at::kDouble);
  const at::Tensor f_1E = counts_1E * (8.0 / (4.0 * 6.0));
  CHECK(test::gap(record.scores_NE.grad(), (f_1E / 6.0).expand({6, kExperts})) < 1e-15);
}

/// The last two of four sequences make a pool, the first two another.
LossUnits two_pools() { return {Segments::uniform(4, 3), {0, 0, 1, 1}, 2}; }

TEST_CASE("a pool's loss is that of its sequences as one") {
  const auto config = four_groups();
  const RoutingRecord record = random_record(12, 11, config);
  const auto pools = all_of(losses_of(record, two_pools(), config));
  const auto merged = all_of(losses_of(record, {}, Segments::uniform(2, 6), config));
  for (size_t i = 0; i < pools.size(); ++i) CHECK(test::gap(pools[i], merged[i]) < 1e-15);
}

TEST_CASE("the parts of a unit here and elsewhere add up to its loss and its gradient") {
  const auto config = four_groups();
  RoutingRecord record = random_record(12, 12, config);
  record.scores_NE = record.scores_NE.detach().requires_grad_();
  const LossUnits whole{Segments({0, 12}), {0}, 1};
  const BalanceCounts counts = count_routing(record, whole, {}, config);
  const auto wanted = all_of(balance_losses(record, counts, whole, config));
  std::vector<at::Tensor> sums(3, at::zeros({1}, at::kDouble));
  for (const int64_t begin : {0, 5}) {
    const int64_t end = begin == 0 ? 5 : 12;
    const auto part = record_of(record.scores_NE.slice(0, begin, end),
                                record.experts_NK.slice(0, begin, end).contiguous());
    const LossUnits here{Segments({0, end - begin}), {0}, 1};
    const auto losses = all_of(balance_losses(part, counts, here, config));
    for (size_t i = 0; i < 3; ++i) sums[i] = sums[i] + losses[i];
  }
  for (size_t i = 0; i < 3; ++i) {
    CHECK(test::gap(sums[i], wanted[i]) < 1e-15);
    const auto gradient = [&](const at::Tensor& loss) {
      return torch::autograd::grad({loss.sum()}, {record.scores_NE}, {}, true)[0];
    };
    CHECK(test::gap(gradient(sums[i]), gradient(wanted[i])) < 1e-15);
  }
}

TEST_CASE("loads may be counted after dropping, and visits without those at home") {
  const auto config = four_groups();
  RoutingRecord record = record_of(at::softmax(test::random({2, kExperts}, 3), 1),
                                   torch::tensor({{0, 1, 2, 3}, {0, 4, 5, 6}}, at::kLong));
  record.kept_NK = torch::tensor({{true, false, false, false}, {true, true, true, true}});
  LossUnits units = LossUnits::each(Segments::uniform(2, 1));
  const auto before = count_routing(record, units, {}, config);
  CHECK(before.pairs_UE[0].equal(torch::tensor({1, 1, 1, 1, 0, 0, 0, 0})));
  CHECK(before.visits_UD[0].equal(torch::tensor({1, 1, 0, 0})));
  const auto after =
      count_routing(record, units, {.count = config::BalanceCount::kAfterDrop}, config);
  CHECK(after.pairs_UE[0].equal(torch::tensor({1, 0, 0, 0, 0, 0, 0, 0})));
  CHECK(after.visits_UD[0].equal(torch::tensor({1, 0, 0, 0})));
  units.homes = {1, 2};
  const auto remote = count_routing(record, units, {}, config);
  CHECK(remote.visits_UD[0].equal(torch::tensor({1, 0, 0, 0})));
  CHECK(remote.visits_UD[1].equal(torch::tensor({1, 0, 0, 1})));
}

TEST_CASE("the complementary loss counts the K largest affinities, whatever the choice was") {
  const auto config = four_groups();
  RoutingRecord record = record_of(at::softmax(test::random({5, kExperts}, 13), 1), round_robin(5));
  const auto units = LossUnits::each(Segments({0, 5}));
  const auto counts = count_routing(record, units, {.complementary = 1.0}, config);
  const at::Tensor best_NK = std::get<1>(record.scores_NE.topk(4, 1));
  const at::Tensor wanted_E = at::bincount(best_NK.flatten(), {}, kExperts);
  CHECK(counts.unbiased_pairs_UE[0].equal(wanted_E));
  const at::Tensor loss = balance_losses(record, counts, units, config).complementary_U;
  const at::Tensor f_E = wanted_E.to(at::kDouble) * (8.0 / (4.0 * 5.0));
  CHECK(loss[0].item<double>() == Approx((f_E * record.scores_NE.mean(0)).sum().item<double>()));
  CHECK_FALSE(losses_of(record, units, config).complementary_U.defined());
}

TEST_CASE("the router z-loss is the mean squared log-sum-exp of the logits, with its gradient") {
  const auto config = four_groups();
  const at::Tensor logits_NE = test::random({6, kExperts}, 14).requires_grad_();
  const auto loss_at = [&](const at::Tensor& x) {
    RoutingRecord record = record_of(at::softmax(x, 1), round_robin(6));
    record.logits_NE = x;
    return losses_of(record, {}, Segments::uniform(2, 3), config).z_U;
  };
  const at::Tensor z_U = loss_at(logits_NE);
  const at::Tensor squares_N = logits_NE.exp().sum(1).log().square();
  CHECK(test::gap(z_U, squares_N.view({2, 3}).mean(1)) < 1e-14);
  z_U.sum().backward();
  const auto f = [&] { return loss_at(logits_NE.detach()).sum().item<double>(); };
  CHECK(test::gradient_error(f, logits_NE.detach(), logits_NE.grad()) < 1e-8);
}

}  // namespace
}  // namespace dsmoe::nn
