#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace dsmoe::test {

/// What a case found wrong on this rank, one sentence each; empty when it passes.
using Failures = std::vector<std::string>;
/// Runs on every rank of a world of any size. An exception fails it as well.
using RankCase = std::function<Failures(parallel::Communicator& world)>;

struct NamedRankCase {
  std::string name;
  RankCase run;
};

/// A file tests/FLOOR/NAME_cases.cpp registers its cases when the program starts:
///   const bool registered = register_rank_case("grad_sync: sums over replicas", sums);
/// They run with ranks as threads in test_FLOOR and under mpirun in test_FLOOR_mpi.
bool register_rank_case(std::string name, RankCase run);
[[nodiscard]] const std::vector<NamedRankCase>& rank_cases();

/// The failures of all registered cases whose name starts with `prefix`, each behind its case's
/// name and the rank. Collective over world. Throws std::runtime_error, with the same prefix, when
/// a case throws: the peers may be waiting.
[[nodiscard]] Failures run_rank_cases(parallel::Communicator& world,
                                      const std::string& prefix = "");
/// The same on `num_ranks` threads; failures of all ranks in rank order.
[[nodiscard]] Failures run_rank_cases_on_threads(int64_t num_ranks, const std::string& prefix = "");

}  // namespace dsmoe::test
