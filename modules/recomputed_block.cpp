#include "modules/recomputed_block.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "modules/saved_data.h"

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// A layer between its two runs.
struct Replay final : torch::CustomClassHolder {
  explicit Replay(RunLayer how) : run(std::move(how)) {}
  RunLayer run;
  std::optional<RoutingRecord> routing;  ///< of a MoE layer, without graph
};
using ReplayPtr = c10::intrusive_ptr<Replay>;

/// What losses are made of: the rows, and of a MoE layer scores and logits.
variable_list outputs_of(const BlockOutput& out) {
  variable_list outputs{out.h_NM};
  if (out.record) outputs.insert(outputs.end(), {out.record->scores_NE, out.record->logits_NE});
  return outputs;
}

struct RecomputedFunction : torch::autograd::Function<RecomputedFunction> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& h_NM,
                               const ReplayPtr& replay) {
    const BlockOutput out = replay->run(h_NM, nullptr);
    replay->routing = out.record;
    ctx->save_for_backward({h_NM});
    ctx->saved_data["replay"] =
        c10::IValue::make_capsule(c10::intrusive_ptr<torch::CustomClassHolder>(replay));
    ctx->set_materialize_grads(false);
    return outputs_of(out);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto replay =
        c10::static_intrusive_pointer_cast<Replay>(take_saved(ctx, "replay").toCapsule());
    const at::Tensor h_NM = ctx->get_saved_variables()[0].detach().requires_grad_();
    const at::AutoGradMode record(true);
    const variable_list outputs =
        outputs_of(replay->run(h_NM, replay->routing ? &*replay->routing : nullptr));
    variable_list roots, given;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!grads[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      given.push_back(grads[i]);
    }
    torch::autograd::backward(roots, given);
    return {h_NM.grad(), {}};
  }
};

}  // namespace

BlockOutput run_recomputed(const RunLayer& run, const at::Tensor& h_NM) {
  const auto replay = c10::make_intrusive<Replay>(run);
  // Of rows without gradient as well: what is trained within the layer would have none either.
  const at::Tensor input = h_NM.requires_grad() ? h_NM : h_NM.detach().requires_grad_();
  const variable_list outputs = RecomputedFunction::apply(input, replay);
  BlockOutput out{outputs[0], replay->routing};
  if (!out.record) return out;
  // The node keeps what a second run follows, and must not keep its own outputs.
  replay->routing->scores_NE = replay->routing->logits_NE = replay->routing->input_NM =
      at::Tensor();
  out.record->scores_NE = outputs[1];
  out.record->logits_NE = outputs[2];
  out.record->row_crossings = 5;   // out and back, out again, and both ways backward
  out.record->pair_crossings = 3;  // out, out again, and back
  return out;
}

}  // namespace dsmoe::nn
