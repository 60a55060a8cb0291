#include "modules/balance_loss.h"

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
  return {0, scores_NE, experts_NK, {}, {}};
}

RoutingRecord random_record(int64_t tokens, int64_t seed, const config::ModelConfig& config) {
  const Routing routing = route(test::random({tokens, kExperts}, seed), {}, config);
  return record_of(routing.scores_NE, routing.experts_NK);
}

std::vector<at::Tensor> all_of(const BalanceLosses& losses) {
  return {losses.expert_S, losses.device_S, losses.communication_S};
}

TEST_CASE("every balance loss is one at uniform load, whatever the affinities") {
  const at::Tensor uniform_NE = at::full({12, kExperts}, 1.0 / kExperts, at::kDouble);
  const at::Tensor random_NE = at::softmax(test::random({12, kExperts}, 5), 1);
  for (const at::Tensor& scores_NE : {uniform_NE, random_NE}) {
    const auto losses = balance_losses(record_of(scores_NE, round_robin(12)), {},
                                       Segments::uniform(3, 4), four_groups());
    for (const at::Tensor& loss_S : all_of(losses)) {
      CHECK(test::gap(loss_S, at::ones({3}, at::kDouble)) < 1e-14);
    }
  }
}

TEST_CASE("uniform affinities give one for any choice, if every token visits M groups") {
  const at::Tensor scores_NE = at::full({12, kExperts}, 1.0 / kExperts, at::kDouble);
  const at::Tensor experts_NK = torch::tensor({{0, 1, 2, 4}}, at::kLong).repeat({12, 1});
  auto config = four_groups();
  config.topk_group = 3;
  for (const at::Tensor& loss_S : all_of(
           balance_losses(record_of(scores_NE, experts_NK), {}, Segments::uniform(2, 6), config))) {
    CHECK(test::gap(loss_S, at::ones({2}, at::kDouble)) < 1e-14);
  }
}

TEST_CASE("a sequence that sends everything to one group costs most") {
  at::Tensor scores_NE = at::zeros({6, kExperts}, at::kDouble);
  scores_NE.slice(1, 0, 2).fill_(0.5);
  auto config = four_groups();
  config.num_experts_per_tok = 2;
  const at::Tensor experts_NK = torch::tensor({{1, 0}}, at::kLong).repeat({6, 1});
  const auto losses =
      balance_losses(record_of(scores_NE, experts_NK), {}, Segments::uniform(1, 6), config);
  CHECK(losses.expert_S.item<double>() == Approx(4.0));         // E / K
  CHECK(losses.device_S.item<double>() == Approx(4.0));         // D
  CHECK(losses.communication_S.item<double>() == Approx(2.0));  // D / M: one visit a token
}

TEST_CASE("padding never counts: padded sequences equal those cut short, bit by bit") {
  const auto config = four_groups();
  const std::vector<int64_t> lengths{4, 9, 1};
  const RoutingRecord padded = random_record(3 * 9, 7, config);
  at::Tensor valid_BT = at::zeros({3, 9}, at::kBool);
  for (int64_t b = 0; b < 3; ++b) valid_BT[b].slice(0, 0, lengths[static_cast<size_t>(b)]).fill_(1);
  const auto all = balance_losses(padded, valid_BT, Segments::uniform(3, 9), config);
  for (int64_t b = 0; b < 3; ++b) {
    const int64_t end = b * 9 + lengths[static_cast<size_t>(b)];
    const auto cut = record_of(padded.scores_NE.slice(0, b * 9, end).contiguous(),
                               padded.experts_NK.slice(0, b * 9, end).contiguous());
    const auto one = balance_losses(cut, {}, Segments({0, end - b * 9}), config);
    CHECK(all.expert_S[b].equal(one.expert_S[0]));
    CHECK(all.device_S[b].equal(one.device_S[0]));
    CHECK(all.communication_S[b].equal(one.communication_S[0]));
    CHECK(count_pairs(padded.experts_NK, valid_BT, Segments::uniform(3, 9), config)[b].equal(
        count_pairs(cut.experts_NK, {}, Segments({0, end - b * 9}), config)[0]));
  }
}

TEST_CASE("an empty sequence gives zero losses and zero gradient, no batch gives none") {
  const auto config = four_groups();
  RoutingRecord record = random_record(10, 8, config);
  record.scores_NE.requires_grad_();
  const at::Tensor valid_BT = torch::tensor({{false}, {true}}).expand({2, 5}).contiguous();
  const auto losses = balance_losses(record, valid_BT, Segments::uniform(2, 5), config);
  at::Tensor sum = at::zeros({}, at::kDouble);
  for (const at::Tensor& loss_S : all_of(losses)) {
    CHECK(loss_S[0].item<double>() == 0.0);
    CHECK(loss_S[1].item<double>() > 0.5);
    sum = sum + loss_S.sum();
  }
  sum.backward();
  CHECK(record.scores_NE.grad().slice(0, 0, 5).count_nonzero().item<int64_t>() == 0);
  CHECK(record.scores_NE.grad().slice(0, 5).count_nonzero().item<int64_t>() > 0);
  const auto none = balance_losses(random_record(0, 1, config), {}, Segments(), config);
  for (const at::Tensor& loss_S : all_of(none)) CHECK(loss_S.sizes() == at::IntArrayRef({0}));
}

/// The loss as a function of the router's logits, the choices held where they are.
at::Tensor loss_at(const at::Tensor& logits_NE, const at::Tensor& experts_NK, size_t which,
                   const at::Tensor& valid_BT) {
  const auto record = record_of(at::softmax(logits_NE, 1), experts_NK);
  const at::Tensor loss_S =
      all_of(balance_losses(record, valid_BT, Segments::uniform(2, 5), four_groups()))[which];
  return (loss_S * torch::tensor({1.0, -3.0}, at::kDouble)).sum();
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
  balance_losses(record, {}, Segments::uniform(1, 6), config).expert_S.sum().backward();
  const at::Tensor counts_1E =
      count_pairs(record.experts_NK, {}, Segments::uniform(1, 6), config).to(at::kDouble);
  const at::Tensor f_1E = counts_1E * (8.0 / (4.0 * 6.0));
  CHECK(test::gap(record.scores_NE.grad(), (f_1E / 6.0).expand({6, kExperts})) < 1e-15);
}

}  // namespace
}  // namespace dsmoe::nn
