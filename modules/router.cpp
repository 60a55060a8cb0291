#include "modules/router.h"

#include <limits>

#include "modules/linear.h"
#include "modules/row_loop.h"

namespace dsmoe::nn {
namespace {

/// Index of the largest of `count` values that is not taken; the lowest one on ties or NaN.
template <class T>
int64_t best_free(const T* values, const std::vector<char>& taken, int64_t count) {
  int64_t best = -1;
  for (int64_t i = 0; i < count; ++i) {
    if (taken[static_cast<size_t>(i)] != 0) continue;
    if (best < 0 || values[i] > values[best]) best = i;
  }
  return best;
}

/// Sum of the `count` largest of a group's scores.
template <class T>
T top_sum(const T* begin, const T* end, int64_t count) {
  std::vector<T> sorted(begin, end);
  std::sort(sorted.begin(), sorted.end(), std::greater<T>());
  T sum = 0;
  for (int64_t i = 0; i < std::min<int64_t>(count, end - begin); ++i) {
    sum += sorted[static_cast<size_t>(i)];
  }
  return sum;
}

template <class T>
T group_score(const T* begin, const T* end, const config::ModelConfig& config) {
  switch (config.group_score) {
    case config::GroupScore::kMax:
      return *std::max_element(begin, end);
    case config::GroupScore::kTop2Sum:
      return top_sum(begin, end, 2);
    case config::GroupScore::kTopkSum:
      return top_sum(begin, end, config.num_experts_per_tok / config.topk_group);
  }
  return T(0);
}

/// Marks every expert outside the token's topk_group best groups as taken.
template <class T>
void limit_groups(const T* scores, std::vector<char>& taken, const config::ModelConfig& config) {
  const int64_t size = config.experts_per_group();
  std::vector<T> group_scores;
  for (int64_t g = 0; g < config.n_group; ++g) {
    group_scores.push_back(group_score(scores + g * size, scores + (g + 1) * size, config));
  }
  std::vector<char> chosen(static_cast<size_t>(config.n_group), 0);
  std::fill(taken.begin(), taken.end(), 1);
  for (int64_t m = 0; m < config.topk_group; ++m) {
    const int64_t g = best_free(group_scores.data(), chosen, config.n_group);
    chosen[static_cast<size_t>(g)] = 1;
    std::fill_n(taken.begin() + g * size, size, 0);
  }
}

template <class T>
void select_token(const T* scores, int64_t* experts, std::vector<char>& taken,
                  const config::ModelConfig& config) {
  if (config.topk_method == config::TopkMethod::kGreedy || config.topk_group == config.n_group) {
    std::fill(taken.begin(), taken.end(), 0);
  } else {
    limit_groups(scores, taken, config);
  }
  for (int64_t k = 0; k < config.num_experts_per_tok; ++k) {
    experts[k] = best_free(scores, taken, config.n_routed_experts);
    taken[static_cast<size_t>(experts[k])] = 1;
  }
}

}  // namespace

at::Tensor select_experts(const at::Tensor& scores_NE, const config::ModelConfig& config) {
  TORCH_CHECK(scores_NE.dim() == 2 && scores_NE.size(1) == config.n_routed_experts,
              "select_experts: scores ", scores_NE.sizes(), " for ", config.n_routed_experts,
              " experts");
  const int64_t rows = scores_NE.size(0);
  at::Tensor experts_NK = at::empty({rows, config.num_experts_per_tok}, at::kLong);
  const at::Tensor contiguous = scores_NE.detach().contiguous();
  AT_DISPATCH_FLOATING_TYPES(contiguous.scalar_type(), "select_experts", [&] {
    const auto* scores = contiguous.const_data_ptr<scalar_t>();
    auto* experts = experts_NK.mutable_data_ptr<int64_t>();
    for_rows(rows, 16 * config.n_routed_experts, [&](int64_t begin, int64_t end) {
      std::vector<char> taken(static_cast<size_t>(config.n_routed_experts));
      for (int64_t n = begin; n < end; ++n) {
        select_token(scores + n * config.n_routed_experts, experts + n * config.num_experts_per_tok,
                     taken, config);
      }
    });
  });
  return experts_NK;
}

at::Tensor affinities(const at::Tensor& logits_NE, const config::ModelConfig& config) {
  if (config.scoring_func == config::ScoringFunc::kSigmoid) return at::sigmoid(logits_NE);
  return at::softmax(logits_NE, -1);  // (22)
}

Routing route(const at::Tensor& logits_NE, const at::Tensor& bias_E,
              const config::ModelConfig& config, const at::Tensor& forced_NK) {
  const at::Tensor scores_NE = affinities(logits_NE, config);
  const at::Tensor experts_NK =
      forced_NK.defined()
          ? forced_NK
          : select_experts(bias_E.defined() ? scores_NE.detach() + bias_E : scores_NE, config);
  at::Tensor weights_NK = scores_NE.gather(1, experts_NK);  // (21)
  if (config.norm_topk_prob) weights_NK = weights_NK / (weights_NK.sum(-1, true) + 1e-20);
  if (config.routed_scaling_factor != 1.0) weights_NK = weights_NK * config.routed_scaling_factor;
  return {logits_NE, scores_NE, experts_NK, weights_NK};
}

RouterImpl::RouterImpl(const config::ModelConfig& config)
    : config_(config),
      weight_(
          register_parameter("weight", at::empty({config.n_routed_experts, config.hidden_size}))) {
  if (config.topk_method == config::TopkMethod::kNoauxTc) {
    bias_ = register_buffer("e_score_correction_bias", at::zeros({config.n_routed_experts}));
  }
}

Routing RouterImpl::forward(const at::Tensor& u_NM, int64_t layer, const RouterVariation& variation,
                            const at::Tensor& chosen_NK) {
  const auto dtype = u_NM.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor input_NM = jittered(u_NM.to(dtype), layer, variation);
  at::Tensor forced_NK = chosen_NK;
  if (!forced_NK.defined() && variation.force_balance) {
    forced_NK = balanced_experts(u_NM.size(0), variation, config_);
  }
  // Experts are chosen, and losses of their balance computed, on the host, wherever the model is.
  Routing routing = route(nn::linear(input_NM, weight_).cpu(), bias_, config_, forced_NK);
  routing.input_NM = input_NM.detach();
  return routing;
}

}  // namespace dsmoe::nn
