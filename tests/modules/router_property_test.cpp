#include <rapidcheck.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "modules/router.h"
#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

using Row = std::vector<double>;

config::ModelConfig random_config() {
  config::ModelConfig config;
  config.n_group = *rc::gen::inRange<int64_t>(1, 7);
  const int64_t size = *rc::gen::inRange<int64_t>(1, 6);
  config.n_routed_experts = config.n_group * size;
  config.topk_group = *rc::gen::inRange<int64_t>(1, config.n_group + 1);
  config.num_experts_per_tok = *rc::gen::inRange<int64_t>(1, config.topk_group * size + 1);
  config.topk_method =
      *rc::gen::element(config::TopkMethod::kGreedy, config::TopkMethod::kGroupLimitedGreedy,
                        config::TopkMethod::kNoauxTc);
  config.scoring_func =
      *rc::gen::element(config::ScoringFunc::kSoftmax, config::ScoringFunc::kSigmoid);
  config.group_score = *rc::gen::element(config::GroupScore::kMax, config::GroupScore::kTop2Sum);
  config.norm_topk_prob = *rc::gen::arbitrary<bool>();
  config.routed_scaling_factor = *rc::gen::element(1.0, 2.5, 16.0);
  return config;
}

/// Few distinct values, so that ties are common.
at::Tensor random_logits(const config::ModelConfig& config) {
  const int64_t rows = *rc::gen::inRange<int64_t>(0, 9);
  const int64_t levels = *rc::gen::element<int64_t>(2, 5, 1000000);
  std::vector<double> values;
  for (int64_t i = 0; i < rows * config.n_routed_experts; ++i) {
    values.push_back(4.0 * static_cast<double>(*rc::gen::inRange<int64_t>(0, levels)) /
                     static_cast<double>(levels));
  }
  return torch::tensor(values, at::kDouble).view({rows, config.n_routed_experts});
}

/// Of either sign, negative enough that a mask of zero would choose what is masked.
at::Tensor random_bias(const config::ModelConfig& config) {
  if (config.topk_method != config::TopkMethod::kNoauxTc) return {};
  std::vector<double> values;
  for (int64_t e = 0; e < config.n_routed_experts; ++e) {
    values.push_back(static_cast<double>(*rc::gen::inRange<int64_t>(-40, 41)) / 20.0);
  }
  return torch::tensor(values, at::kDouble);
}

/// Score of a group by its definition.
double score_of(const Row& scores, int64_t group, const config::ModelConfig& config) {
  const auto size = config.experts_per_group();
  Row members(scores.begin() + group * size, scores.begin() + (group + 1) * size);
  std::sort(members.rbegin(), members.rend());
  const bool two = config.group_score == config::GroupScore::kTop2Sum && members.size() > 1;
  return two ? members[0] + members[1] : members[0];
}

/// Number of values that come before entry i: larger ones, and equal ones with a lower id.
int64_t place_of(const Row& values, int64_t i) {
  int64_t before = 0;
  for (int64_t j = 0; j < static_cast<int64_t>(values.size()); ++j) {
    const double other = values[static_cast<size_t>(j)];
    const double own = values[static_cast<size_t>(i)];
    before += other > own || (other == own && j < i) ? 1 : 0;
  }
  return before;
}

std::vector<bool> allowed_experts(const Row& scores, const config::ModelConfig& config) {
  std::vector<bool> allowed(scores.size(), true);
  if (config.topk_method == config::TopkMethod::kGreedy) return allowed;
  Row groups;
  for (int64_t g = 0; g < config.n_group; ++g) groups.push_back(score_of(scores, g, config));
  for (size_t e = 0; e < scores.size(); ++e) {
    const int64_t group = static_cast<int64_t>(e) / config.experts_per_group();
    allowed[e] = place_of(groups, group) < config.topk_group;
  }
  return allowed;
}

/// What the definition says, by sorting.
std::vector<int64_t> expected_choice(const Row& scores, const config::ModelConfig& config) {
  const auto allowed = allowed_experts(scores, config);
  std::vector<int64_t> ids;
  for (size_t e = 0; e < scores.size(); ++e) {
    if (allowed[e]) ids.push_back(static_cast<int64_t>(e));
  }
  std::stable_sort(ids.begin(), ids.end(), [&](int64_t a, int64_t b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  ids.resize(static_cast<size_t>(config.num_experts_per_tok));
  return ids;
}

/// scores: what the choice goes by; affinities: what the weights are made of.
void check_token(const Row& scores, const Row& affinities, const std::vector<int64_t>& chosen,
                 const Row& weights, const config::ModelConfig& config) {
  const std::set<int64_t> distinct(chosen.begin(), chosen.end());
  RC_ASSERT(static_cast<int64_t>(distinct.size()) == config.num_experts_per_tok);
  std::set<int64_t> groups;
  for (const int64_t e : chosen) groups.insert(e / config.experts_per_group());
  const bool limited = config.topk_method != config::TopkMethod::kGreedy;
  RC_ASSERT(!limited || static_cast<int64_t>(groups.size()) <= config.topk_group);
  RC_ASSERT(chosen == expected_choice(scores, config));
  double sum = 0;
  for (const int64_t e : chosen) sum += affinities[static_cast<size_t>(e)];
  for (size_t k = 0; k < chosen.size(); ++k) {
    const double raw = affinities[static_cast<size_t>(chosen[k])];
    const double wanted = (config.norm_topk_prob ? raw / sum : raw) * config.routed_scaling_factor;
    RC_ASSERT(std::abs(weights[k] - wanted) < 1e-12 * config.routed_scaling_factor);
  }
}

template <class T>
std::vector<T> row_of(const at::Tensor& matrix, int64_t row) {
  const T* begin = matrix.const_data_ptr<T>() + row * matrix.size(1);
  return {begin, begin + matrix.size(1)};
}

TEST_CASE("the router keeps its definition for any shape of model") {
  CHECK(rc::check([] {
    const auto config = random_config();
    const at::Tensor logits_NE = random_logits(config);
    const at::Tensor bias_E = random_bias(config);
    const Routing routing = route(logits_NE, bias_E, config);
    const bool sigmoid = config.scoring_func == config::ScoringFunc::kSigmoid;
    const at::Tensor affinities_NE =
        (sigmoid ? at::sigmoid(logits_NE) : at::softmax(logits_NE, 1)).contiguous();
    RC_ASSERT(routing.scores_NE.equal(affinities_NE));
    const at::Tensor scores_NE = bias_E.defined() ? affinities_NE + bias_E : affinities_NE;
    for (int64_t n = 0; n < logits_NE.size(0); ++n) {
      check_token(row_of<double>(scores_NE, n), row_of<double>(affinities_NE, n),
                  row_of<int64_t>(routing.experts_NK, n),
                  row_of<double>(routing.weights_NK.contiguous(), n), config);
    }
  }));
}

}  // namespace
}  // namespace dsmoe::nn
