#include "modules/expert_weights.h"

#include <algorithm>

#include "modules/gradient.h"

namespace dsmoe::nn {
namespace {

/// Where the gradients of an adapter's matrices are added.
Adapter gradients_of(const Adapter& adapter) {
  if (!adapter.defined() || !adapter.a.requires_grad()) return {};
  return {gradient_of(adapter.a), gradient_of(adapter.b), adapter.scale};
}

}  // namespace

ExpertStack::ExpertStack(const at::Tensor& weight, const Adapter& adapter)
    : weight_(weight.detach()), adapter_(adapter) {
  if (!adapter_.defined()) return;
  adapter_.a = adapter.a.detach();
  adapter_.b = adapter.b.detach();
}

void ExpertStack::multiply(at::Tensor& y, const at::Tensor& x, int64_t expert) const {
  at::mm_out(y, x, weight_[expert].t());
  if (!adapter_.defined()) return;
  y.addmm_(at::mm(x, adapter_.a[expert].t()), adapter_.b[expert].t(), 1, adapter_.scale);
}

void ExpertStack::turn_back(at::Tensor& dx, const at::Tensor& dy, int64_t expert) const {
  at::mm_out(dx, dy, weight_[expert]);
  if (!adapter_.defined()) return;
  dx.addmm_(at::mm(dy, adapter_.b[expert]), adapter_.a[expert], 1, adapter_.scale);
}

void ExpertStack::add_adapter_gradient(const Adapter& gradient, const at::Tensor& dy,
                                       const at::Tensor& x, int64_t expert) const {
  if (!gradient.defined()) return;
  const at::Tensor scaled = dy * adapter_.scale;
  add_weight_gradient(gradient.b[expert], scaled, at::mm(x, adapter_.a[expert].t()));
  add_weight_gradient(gradient.a[expert], at::mm(scaled, adapter_.b[expert]), x);
}

StackGradient::StackGradient(const at::Tensor& stack, const std::vector<int64_t>& slots)
    : slots_(slots) {
  const bool any = std::any_of(slots_.begin(), slots_.end(), [](int64_t s) { return s >= 0; });
  if (stack.requires_grad() && any) gradient_ = gradient_of(stack);
}

bool StackGradient::trains(int64_t expert) const {
  return gradient_.defined() && slots_[static_cast<size_t>(expert)] >= 0;
}

void StackGradient::add(int64_t expert, const at::Tensor& dy, const at::Tensor& x) const {
  if (!trains(expert)) return;
  add_weight_gradient(gradient_[slots_[static_cast<size_t>(expert)]], dy, x);
}

ExpertGradients::ExpertGradients(ExpertWeightsPtr experts, at::Tensor rows_RM, at::Tensor dout_RM,
                                 at::Tensor pair_rows_P)
    : experts_(std::move(experts)),
      rows_RM_(std::move(rows_RM)),
      dout_RM_(std::move(dout_RM)),
      pair_rows_P_(std::move(pair_rows_P)),
      gate_up_gradient_(experts_->gate_up, experts_->gate_up_slots),
      down_gradient_(experts_->down, experts_->down_slots),
      gate_up_lora_(gradients_of(experts_->gate_up_adapter)),
      down_lora_(gradients_of(experts_->down_adapter)) {}

bool ExpertGradients::trains(int64_t expert) const {
  return gate_up_gradient_.trains(expert) || down_gradient_.trains(expert) ||
         gate_up_lora_.defined() || down_lora_.defined();
}

void ExpertGradients::add(const ExpertSlice& s, const WeightTerms& terms) const {
  if (!trains(s.expert)) return;
  const auto& [kept, activation, dh] = terms;
  const at::Tensor dy = kept.defined() ? kept : dout_RM_.index_select(0, s.of(pair_rows_P_));
  down_gradient_.add(s.expert, dy, activation);
  const ExpertStack down(experts_->down, experts_->down_adapter);
  down.add_adapter_gradient(down_lora_, dy, activation, s.expert);
  if (!gate_up_gradient_.trains(s.expert) && !gate_up_lora_.defined()) return;
  const at::Tensor x = rows_RM_.index_select(0, s.of(pair_rows_P_));
  gate_up_gradient_.add(s.expert, dh, x);
  const ExpertStack gate_up(experts_->gate_up, experts_->gate_up_adapter);
  gate_up.add_adapter_gradient(gate_up_lora_, dh, x, s.expert);
}

}  // namespace dsmoe::nn
