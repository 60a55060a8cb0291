#include "modules/recompute.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace dsmoe::nn {

Recompute recompute_of(const std::vector<std::string>& names) {
  const auto has = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return {has("layer"), has("norms"), has("mla_up"), has("swiglu"), has("experts"), has("moe")};
}

RemadePtr remade_if(bool wanted, std::function<at::Tensor()> how) {
  if (!wanted) return {};
  return c10::make_intrusive<Remade>([how = std::move(how)] {
    const at::NoGradGuard no_grad;
    return how();
  });
}

c10::IValue to_saved(const RemadePtr& again) {
  return again ? c10::IValue::make_capsule(again) : c10::IValue();
}

RemadePtr from_saved(const c10::IValue& saved) {
  if (saved.isNone()) return {};
  return c10::static_intrusive_pointer_cast<Remade>(saved.toCapsule());
}

at::Tensor kept_or_made(const at::Tensor& kept, const RemadePtr& again) {
  return again ? again->make() : kept;
}

}  // namespace dsmoe::nn
