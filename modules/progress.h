#pragma once

#include <functional>

namespace dsmoe::nn {

/// While it lives, backward passes of this thread call `poll` between their products, so that a
/// library without threads of its own can move what is under way. `poll` must be cheap and must not
/// block. Not nested.
class ProgressScope final {
 public:
  explicit ProgressScope(std::function<void()> poll);
  ~ProgressScope();
  ProgressScope(const ProgressScope&) = delete;
  ProgressScope& operator=(const ProgressScope&) = delete;
};

/// Calls what the scope of this thread says, if there is one.
void make_progress();

}  // namespace dsmoe::nn
