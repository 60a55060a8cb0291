#include "trainer/interference.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "modules/router.h"
#include "trainer/objective.h"
#include "trainer/schedule.h"
#include "trainer/shared_state.h"

namespace dsmoe::train {
namespace {

/// What reaches the logits by way of the affinities.
at::Tensor through_affinities(const at::Tensor& dscores_NE, const nn::RoutingRecord& record,
                              const config::ModelConfig& model) {
  const at::AutoGradMode on(true);
  const at::Tensor logits_NE = record.logits_NE.detach().requires_grad_();
  return torch::autograd::grad({nn::affinities(logits_NE, model)}, {logits_NE}, {dscores_NE})
      .front();
}

/// The losses of a layer reach its router weights through its logits alone, so that this is all of
/// their gradient: no other layer is run through. In a layer that will run again, logits and
/// affinities are two outputs of one node, and what lies between them is not in the graph.
at::Tensor pull_on_router(const at::Tensor& term, const nn::RoutingRecord& record,
                          const config::ModelConfig& model) {
  auto gradients =
      torch::autograd::grad({term}, {record.logits_NE, record.scores_NE}, /*grad_outputs=*/{},
                            /*retain_graph=*/true, /*create_graph=*/false, /*allow_unused=*/true);
  at::Tensor dlogits_NE = gradients[0];
  if (record.logits_NE.grad_fn() == record.scores_NE.grad_fn() && gradients[1].defined()) {
    const at::Tensor more_NE = through_affinities(gradients[1], record, model);
    dlogits_NE = dlogits_NE.defined() ? dlogits_NE + more_NE : more_NE;
  }
  return at::mm(dlogits_NE.to(at::kDouble).t(), record.input_NM.cpu().to(at::kDouble));
}

/// Squared norms of the pull and of the rest, and their product.
struct Sums {
  double pull = 0;
  double rest = 0;
  double product = 0;

  Sums& operator+=(const Sums& more) {
    pull += more.pull;
    rest += more.rest;
    product += more.product;
    return *this;
  }
};

Sums sums_of(const at::Tensor& pull_EM, const at::Tensor& rest_EM) {
  return {pull_EM.square().sum().item<double>(), rest_EM.square().sum().item<double>(),
          (pull_EM * rest_EM).sum().item<double>()};
}

InterferenceValues values_of(const Sums& sums) {
  return {std::sqrt(sums.pull / sums.rest), sums.product / std::sqrt(sums.pull * sums.rest)};
}

/// The gradient of a layer's router weights, on whichever stage the layer is.
at::Tensor router_gradient(nn::ParameterStore& store, parallel::ProcessGroups& groups,
                           int64_t layer, const at::Tensor& like_EM) {
  const std::string name = "model.layers." + std::to_string(layer) + ".mlp.gate.weight";
  const auto found = std::find_if(store.tensors().begin(), store.tensors().end(),
                                  [&](const nn::StoredTensor& t) { return t.name == name; });
  at::Tensor whole_EM = found == store.tensors().end()
                            ? at::zeros_like(like_EM)
                            : whole_gradient(store, groups, *found).cpu();
  if (groups.forward->size() > 1) groups.forward->all_reduce(whole_EM, parallel::ReduceOp::kSum);
  return whole_EM;
}

}  // namespace

Interference::Interference(const config::ModelConfig& model) : model_(model) {
  for (int64_t i = 0; i < model.num_hidden_layers; ++i) {
    if (!model.is_moe_layer(i)) continue;
    layers_.push_back(i);
    pulls_EM_.push_back(at::zeros({model.n_routed_experts, model.hidden_size}, at::kDouble));
  }
}

bool Interference::due(const config::RunConfig& config, int64_t step) {
  const int64_t every = config.log.interference_every;
  return every > 0 && config.model.num_moe_layers() > 0 && has_balance_terms(config.balance) &&
         (step % every == 0 || step == total_steps(config));
}

void Interference::add(const nn::ModelOutput& output, const std::vector<at::Tensor>& terms) {
  for (size_t i = 0; i < terms.size(); ++i) {
    if (!terms[i].requires_grad()) continue;  // no rows here
    const nn::RoutingRecord& record = output.routing[i];
    const auto place = std::find(layers_.begin(), layers_.end(), record.layer) - layers_.begin();
    pulls_EM_[static_cast<size_t>(place)] += pull_on_router(terms[i], record, model_);
  }
}

void Interference::fill(StepReport& report, nn::ParameterStore& store,
                        parallel::ProcessGroups& groups) {
  Sums all;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (groups.world.size() > 1) groups.world.all_reduce(pulls_EM_[i], parallel::ReduceOp::kSum);
    const at::Tensor whole_EM = router_gradient(store, groups, layers_[i], pulls_EM_[i]);
    const Sums sums = sums_of(pulls_EM_[i], whole_EM - pulls_EM_[i]);
    report.layers[i].interference = values_of(sums);
    all += sums;
  }
  report.interference = values_of(all);
}

}  // namespace dsmoe::train
