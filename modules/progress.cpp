#include "modules/progress.h"

#include <c10/util/Exception.h>

#include <utility>

namespace dsmoe::nn {
namespace {

thread_local std::function<void()> poll_now;

}  // namespace

ProgressScope::ProgressScope(std::function<void()> poll) {
  TORCH_CHECK(!poll_now, "progress is made already");
  poll_now = std::move(poll);
}

ProgressScope::~ProgressScope() { poll_now = nullptr; }

void make_progress() {
  if (poll_now) poll_now();
}

}  // namespace dsmoe::nn
