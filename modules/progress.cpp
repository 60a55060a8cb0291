#include "modules/progress.h"

#include <utility>
#include <vector>

namespace dsmoe::nn {
namespace {

thread_local std::vector<std::function<void()>> polls;

}  // namespace

ProgressScope::ProgressScope(std::function<void()> poll) { polls.push_back(std::move(poll)); }

ProgressScope::~ProgressScope() { polls.pop_back(); }

void make_progress() {
  for (const auto& poll : polls) poll();
}

}  // namespace dsmoe::nn
