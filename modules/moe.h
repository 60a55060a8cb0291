#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "configs/model_config.h"
#include "modules/experts.h"
#include "modules/router.h"
#include "modules/routing_record.h"
#include "modules/swiglu.h"
#include "modules/token_drop.h"
#include "parallel/communicator.h"

namespace dsmoe::nn {

/// What every MoE layer of a model shares: who to talk to and what to drop.
struct MoeContext {
  parallel::Communicator& ep;
  TokenDropper dropper;
};

struct MoeOutput {
  at::Tensor y_NM;  ///< shared plus routed experts, without the residual
  RoutingRecord record;
};

/// The DeepSeekMoE layer: shared experts and the K chosen of E routed ones, V2 (20).
class MoeImpl final : public torch::nn::Module {
 public:
  /// layer: index in the model. context must outlive this.
  MoeImpl(const config::ModelConfig& config, int64_t layer, const MoeContext& context);

  /// u_NM: normed input. Collective over ep; zero rows are legal and take part in every exchange.
  MoeOutput forward(const at::Tensor& u_NM, const SequenceInfo& sequences, bool dropping);

 private:
  const MoeContext& context_;
  int64_t layer_;
  int64_t num_experts_;
  Router gate_{nullptr};
  Experts experts_{nullptr};
  SwigluMlp shared_experts_{nullptr};
};
TORCH_MODULE(Moe);

}  // namespace dsmoe::nn
