#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "configs/model_config.h"

namespace dsmoe::nn {

/// What the router decided for N tokens.
struct Routing {
  at::Tensor scores_NE;   ///< affinities s, float32 (float64 in a float64 model), differentiable
  at::Tensor experts_NK;  ///< int64, descending choice score, ties to the lower id
  at::Tensor weights_NK;  ///< gate weights g after normalisation and scaling, differentiable
};

/// The K experts of each token: greedy over all, or (group_limited_greedy) over the topk_group
/// groups whose group score is highest (V2 section 2.2.2); others are out, as if scored -inf.
/// Ties go to the lower id. scores_NE: float32 or float64. Returns int64 [N, K]. Local.
[[nodiscard]] at::Tensor select_experts(const at::Tensor& scores_NE,
                                        const config::ModelConfig& config);

/// Affinities, choice and gate weights, V2 (21), (22), from the router's logits [N, E].
[[nodiscard]] Routing route(const at::Tensor& logits_NE, const config::ModelConfig& config);

/// The gate: logits in float32 (float64 in a float64 model) from weight [E, M]. Local.
class RouterImpl final : public torch::nn::Module {
 public:
  explicit RouterImpl(const config::ModelConfig& config);
  Routing forward(const at::Tensor& u_NM);

 private:
  config::ModelConfig config_;
  at::Tensor weight_;
};
TORCH_MODULE(Router);

}  // namespace dsmoe::nn
