#include "tests/support/rank_suite.h"

#include <stdexcept>
#include <utility>

#include "tests/support/thread_world.h"

namespace dsmoe::test {
namespace {

std::vector<NamedRankCase>& registry() {
  static std::vector<NamedRankCase> cases;
  return cases;
}

}  // namespace

bool register_rank_case(std::string name, RankCase run) {
  registry().push_back({std::move(name), std::move(run)});
  return true;
}

const std::vector<NamedRankCase>& rank_cases() { return registry(); }

Failures run_rank_cases(parallel::Communicator& world, const std::string& prefix) {
  Failures failures;
  const auto where =
      ", rank " + std::to_string(world.rank()) + " of " + std::to_string(world.size()) + ": ";
  for (const auto& [name, run] : registry()) {
    if (!name.starts_with(prefix)) continue;
    try {
      for (const auto& failure : run(world)) failures.push_back(name + where + failure);
    } catch (const std::exception& error) {
      throw std::runtime_error(name + where + error.what());
    }
  }
  return failures;
}

Failures run_rank_cases_on_threads(int64_t num_ranks, const std::string& prefix) {
  std::vector<Failures> by_rank(static_cast<size_t>(num_ranks));
  run_ranks(num_ranks, [&](parallel::Communicator& world) {
    by_rank[static_cast<size_t>(world.rank())] = run_rank_cases(world, prefix);
  });
  Failures all;
  for (auto& failures : by_rank) all.insert(all.end(), failures.begin(), failures.end());
  return all;
}

}  // namespace dsmoe::test
