#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "configs/model_config.h"
#include "modules/experts.h"
#include "modules/router.h"
#include "modules/routing_record.h"
#include "modules/swiglu.h"
#include "modules/token_drop.h"
#include "parallel/expert_group.h"

namespace dsmoe::nn {

/// What every layer of a model shares: who to talk to, what to drop, what to compute again.
struct MoeContext {
  parallel::ExpertGroup ep;
  TokenDropper dropper;
  Recompute recompute{};
  bool overlap = true;  ///< shared experts are computed while rows travel
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

  /// u_NM: normed input. earlier: the routing of an earlier run, which this one follows for its
  /// graph alone: rows go out, and what comes back, which nobody reads, does not. Collective over
  /// ep; zero rows are legal and take part in every exchange.
  MoeOutput forward(const at::Tensor& u_NM, const SequenceInfo& sequences, bool dropping,
                    const RoutingRecord* earlier = nullptr);

 private:
  /// Who goes where: decided, or as in an earlier run.
  struct Decision {
    Routing routing;
    at::Tensor kept_NK;
    std::shared_ptr<const parallel::ExpertRoute> route;
  };
  Decision decide(const at::Tensor& u_NM, const SequenceInfo& sequences, bool dropping);
  Decision follow(const at::Tensor& u_NM, const SequenceInfo& sequences,
                  const RoutingRecord& earlier);

  const MoeContext& context_;
  int64_t layer_;
  int64_t num_experts_;
  Router gate_{nullptr};
  Experts experts_{nullptr};
  SwigluMlp shared_experts_{nullptr};
};
TORCH_MODULE(Moe);

}  // namespace dsmoe::nn
