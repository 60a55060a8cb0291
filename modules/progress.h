#pragma once

#include <functional>

namespace dsmoe::nn {

/// While it lives, passes of this thread, forward and backward, call `poll` between their products,
/// so that a library without threads of its own can move what is under way. `poll` must be cheap
/// and must not block. Scopes nest: each is called. To be destroyed on the thread that made it, the
/// inner before the outer.
class ProgressScope final {
 public:
  explicit ProgressScope(std::function<void()> poll);
  ~ProgressScope();
  ProgressScope(const ProgressScope&) = delete;
  ProgressScope& operator=(const ProgressScope&) = delete;
};

/// Calls what the scopes of this thread say.
void make_progress();

}  // namespace dsmoe::nn
