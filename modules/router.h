#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "configs/model_config.h"
#include "modules/router_variation.h"

namespace dsmoe::nn {

/// What the router decided for N tokens.
struct Routing {
  at::Tensor logits_NE;  ///< what the affinities are made of, differentiable
  /// Affinities s, without bias; float32 (float64 in a float64 model), differentiable.
  at::Tensor scores_NE;
  at::Tensor experts_NK;  ///< int64, descending choice score, ties to the lower id
  at::Tensor weights_NK;  ///< gate weights g after normalisation and scaling, differentiable
  at::Tensor input_NM{};  ///< what the logits are a product of; undefined where they were given
};

/// The K experts of each token: greedy over all, or (group_limited_greedy, noaux_tc) over the
/// topk_group groups whose group score is highest (V2 section 2.2.2); others are out, as if -inf.
/// Ties go to the lower id. scores_NE: float32 or float64. Returns int64 [N, K]. Local.
[[nodiscard]] at::Tensor select_experts(const at::Tensor& scores_NE,
                                        const config::ModelConfig& config);

/// s of each expert from its logit: softmax (22), or V3's sigmoid. [N, E]. Local, differentiable.
[[nodiscard]] at::Tensor affinities(const at::Tensor& logits_NE, const config::ModelConfig& config);

/// Affinities, choice and gate weights, V2 (21), (22), from the router's logits [N, E]. bias_E (may
/// be undefined) is added to the affinities for the choice alone, V3 section 2.1.2: it is neither
/// in the weights nor in the gradient. forced_NK, where defined, takes the place of the choice.
[[nodiscard]] Routing route(const at::Tensor& logits_NE, const at::Tensor& bias_E,
                            const config::ModelConfig& config, const at::Tensor& forced_NK = {});

/// The gate: logits in float32 (float64 in a float64 model) from weight [E, M]. Local. With
/// noaux_tc it has the buffer e_score_correction_bias [E], which no optimizer touches.
class RouterImpl final : public torch::nn::Module {
 public:
  explicit RouterImpl(const config::ModelConfig& config);
  /// layer: index in the model. chosen_NK: of an earlier run, takes the place of the choice.
  Routing forward(const at::Tensor& u_NM, int64_t layer, const RouterVariation& variation,
                  const at::Tensor& chosen_NK = {});

 private:
  config::ModelConfig config_;
  at::Tensor weight_;
  at::Tensor bias_;  ///< undefined unless noaux_tc
};
TORCH_MODULE(Router);

}  // namespace dsmoe::nn
