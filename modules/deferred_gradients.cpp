#include "modules/deferred_gradients.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include "modules/progress.h"

namespace dsmoe::nn {
namespace {

thread_local DeferredGradients* deferred = nullptr;

}  // namespace

void DeferredGradients::run() {
  const at::NoGradGuard no_grad;
  for (std::function<void()>& work : works_) {
    make_progress();
    work();
    work = nullptr;
  }
  works_.clear();
}

DeferScope::DeferScope(DeferredGradients& into) {
  TORCH_CHECK(deferred == nullptr, "weight gradients are put off already");
  deferred = &into;
}

DeferScope::~DeferScope() { deferred = nullptr; }

bool defers_gradients() { return deferred != nullptr; }

void weight_gradient(std::function<void()> work) {
  make_progress();
  if (deferred == nullptr) return work();
  deferred->add(std::move(work));
}

}  // namespace dsmoe::nn
