#pragma once

#include <functional>
#include <vector>

namespace dsmoe::nn {

/// Weight gradients of a backward pass that are computed later: nothing waits for them but the
/// optimizer, while the stage before waits for the gradient of its output (zero bubble, Qi et al.,
/// 2401.10241).
class DeferredGradients {
 public:
  void add(std::function<void()> work) { works_.push_back(std::move(work)); }
  /// Computes them in the order they were put off in, and forgets them with all they hold.
  void run();

 private:
  std::vector<std::function<void()>> works_;
};

/// While it lives, backward passes of this thread put their weight gradients off. Not nested.
class DeferScope final {
 public:
  explicit DeferScope(DeferredGradients& into);
  ~DeferScope();
  DeferScope(const DeferScope&) = delete;
  DeferScope& operator=(const DeferScope&) = delete;
};

/// Whether a scope of this thread puts weight gradients off.
[[nodiscard]] bool defers_gradients();

/// Runs `work`, which adds to weight gradients and to nothing else: now, or where a scope of this
/// thread says so, later. To be called on the thread that called backward().
void weight_gradient(std::function<void()> work);

}  // namespace dsmoe::nn
