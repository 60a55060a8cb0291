#pragma once

#include <cstdint>
#include <functional>

#include "parallel/communicator.h"

namespace dsmoe::test {

/// Runs fn(world) on `num_ranks` threads, one rank each, and waits for all of them. ATen computes
/// with one thread in each rank meanwhile. An exception on one rank ends the calls that its peers
/// wait in; the first one is rethrown here. Assert on what the ranks leave behind, after this
/// returns: Catch2 v2 assertions are not thread-safe.
void run_ranks(int64_t num_ranks, const std::function<void(parallel::Communicator& world)>& fn);

}  // namespace dsmoe::test
