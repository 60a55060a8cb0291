#include "modules/moe.h"

namespace dsmoe::nn {

namespace {

/// Within a MoE layer, which may be run again as a whole.
Recompute again_within(const Recompute& asked) { return asked.moe ? Recompute{} : asked; }

}  // namespace

MoeImpl::MoeImpl(const config::ModelConfig& config, int64_t layer, const MoeContext& context)
    : context_(context), layer_(layer), num_experts_(config.n_routed_experts) {
  const int64_t held = config.n_routed_experts / context.ep.size();
  const Recompute again = again_within(context.recompute);
  gate_ = register_module("gate", Router(config));
  experts_ = register_module("experts", Experts(config, context.ep.rank() * held, held, again));
  if (config.n_shared_experts > 0) {
    shared_experts_ = register_module(
        "shared_experts", SwigluMlp(config.hidden_size,
                                    config.n_shared_experts * config.moe_intermediate_size, again));
  }
}

MoeImpl::Decision MoeImpl::decide(const at::Tensor& u_NM, const SequenceInfo& sequences,
                                  bool dropping) {
  const Routing routing = gate_->forward(u_NM, layer_, sequences.variation);
  const at::Tensor kept_NK = context_.dropper.keep(routing, sequences, dropping);
  return {routing, kept_NK,
          std::make_shared<const parallel::ExpertRoute>(
              parallel::plan_route(routing.experts_NK, kept_NK, num_experts_, context_.ep))};
}

MoeImpl::Decision MoeImpl::follow(const at::Tensor& u_NM, const SequenceInfo& sequences,
                                  const RoutingRecord& earlier) {
  return {gate_->forward(u_NM, layer_, sequences.variation, earlier.experts_NK), earlier.kept_NK,
          earlier.route};
}

MoeOutput MoeImpl::forward(const at::Tensor& u_NM, const SequenceInfo& sequences, bool dropping,
                           const RoutingRecord* earlier) {
  const auto [routing, kept_NK, route] =
      earlier == nullptr ? decide(u_NM, sequences, dropping) : follow(u_NM, sequences, *earlier);
  const parallel::RouteDispatcher dispatcher(route, context_.ep);
  const parallel::InFlight flight = dispatcher.start(u_NM, routing.weights_NK);
  parallel::Dispatched arrived;
  if (!context_.overlap) arrived = dispatcher.arrive(flight);
  const at::Tensor shared_NM = shared_experts_ ? shared_experts_->forward(u_NM) : at::Tensor();
  if (context_.overlap) arrived = dispatcher.arrive(flight);
  const at::Tensor expert_RM = experts_(arrived, route->expert_offsets());
  at::Tensor y_NM = dispatcher.combine(expert_RM, /*for_graph=*/earlier != nullptr);
  if (shared_experts_) y_NM = y_NM + shared_NM;  // (20)
  const int64_t inward = arrived.rows_RM.requires_grad() ? 1 : 0;
  const int64_t outward = expert_RM.requires_grad() ? 1 : 0;
  return {
      y_NM,
      {layer_, routing.scores_NE, routing.experts_NK, kept_NK, route, routing.logits_NE,
       sequences.router_input ? routing.input_NM : at::Tensor(), 2 + inward + outward, 1 + inward}};
}

}  // namespace dsmoe::nn
