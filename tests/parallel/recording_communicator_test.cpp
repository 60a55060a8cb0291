#include "parallel/recording_communicator.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "parallel/thread_communicator.h"
#include "tests/support/catch.h"
#include "tests/support/rank_suite.h"
#include "tests/support/thread_world.h"

using dsmoe::parallel::Communicator;
using dsmoe::parallel::OperationCount;
using dsmoe::parallel::RecordingCommunicator;
using dsmoe::parallel::ReduceOp;
using dsmoe::parallel::TrafficLog;
using dsmoe::test::run_ranks;

namespace {

/// What every rank of a world of threads has counted after `fn`.
template <typename Fn>
std::vector<TrafficLog> logs_of(int64_t num_ranks, const Fn& fn) {
  std::vector<TrafficLog> logs(static_cast<size_t>(num_ranks));
  run_ranks(num_ranks, [&](Communicator& world) {
    RecordingCommunicator recorded(world);
    fn(recorded);
    logs[static_cast<size_t>(world.rank())] = recorded.log();
  });
  return logs;
}

void reduce(Communicator& group, int64_t elements) {
  auto tensor = at::full({elements}, 1.0, at::kDouble);
  group.all_reduce(tensor, ReduceOp::kSum);
}

}  // namespace

TEST_CASE("a recorded world passes every communicator case") {
  const int64_t num_ranks = GENERATE(1, 2, 4);
  std::vector<dsmoe::test::Failures> failures(static_cast<size_t>(num_ranks));
  run_ranks(num_ranks, [&](Communicator& world) {
    RecordingCommunicator recorded(world);
    failures[static_cast<size_t>(world.rank())] =
        dsmoe::test::run_rank_cases(recorded, "communicator:");
  });
  for (const auto& of_rank : failures) {
    for (const auto& failure : of_rank) FAIL_CHECK(failure);
  }
}

TEST_CASE("an exchange counts the rows for other ranks, not those that stay") {
  const auto logs = logs_of(2, [](Communicator& world) {
    const bool first = world.rank() == 0;
    const auto input = at::full({first ? 5 : 7, 3}, 1.0, at::kFloat);
    auto output = at::full({first ? 5 : 7, 3}, 0.0, at::kFloat);
    if (first) world.all_to_all(output, input, {1, 4}, {1, 4});
    if (!first) world.all_to_all(output, input, {4, 3}, {4, 3});
  });
  CHECK(logs[0].at("world").at("all_to_all").calls == 1);
  CHECK(logs[0].at("world").at("all_to_all").bytes == 4 * 3 * 4);
  CHECK(logs[1].at("world").at("all_to_all").bytes == 4 * 3 * 4);
}

TEST_CASE("the other operations count by their stated formulas") {
  const auto logs = logs_of(4, [](Communicator& world) {
    reduce(world, 10);
    auto gathered = at::full({8, 3}, 0, at::kInt);
    at::Tensor share = at::full({2, 3}, 0.0, at::kFloat);
    world.reduce_scatter(share, at::full({8, 3}, 1.0, at::kFloat));
    world.all_gather(gathered, at::full({2, 3}, 1, at::kInt));
    auto tensor = at::full({5}, 1, at::kByte);
    world.broadcast(tensor, 2);
    world.broadcast(tensor, 2);
    world.barrier();
  });
  const auto& counts = logs[2].at("world");
  CHECK(counts.at("all_reduce").bytes == 2 * 3 * 80 / 4);
  CHECK(counts.at("reduce_scatter").bytes == 3 * 24);
  CHECK(counts.at("all_gather").bytes == 3 * 24);
  CHECK(counts.at("broadcast").calls == 2);
  CHECK(counts.at("broadcast").bytes == 2 * 3 * 5);
  CHECK(counts.at("barrier").calls == 1);
  CHECK(counts.at("barrier").bytes == 0);
  CHECK(logs[0].at("world").at("broadcast").bytes == 0);
}

TEST_CASE("groups split from a recorded world count in its log under their names") {
  const auto logs = logs_of(4, [](Communicator& world) {
    const auto pair = world.split(world.rank() / 2, world.rank(), "ep");
    const auto alone = pair->split(pair->rank(), 0, "alone");
    reduce(*pair, 4);
    reduce(*alone, 4);
    reduce(world, 4);
  });
  CHECK(logs[3].at("ep").at("all_reduce").bytes == 32);
  CHECK(logs[3].at("alone").at("all_reduce").bytes == 0);
  CHECK(logs[3].at("world").at("all_reduce").bytes == 48);
  CHECK(logs[3].at("ep").at("split").calls == 1);
  const auto sum = dsmoe::parallel::total(logs[3], "all_reduce");
  CHECK(sum.calls == 3);
  CHECK(sum.bytes == 80);
}

TEST_CASE("reset empties the counters of a world and of its groups") {
  const auto logs = logs_of(2, [](RecordingCommunicator& world) {
    const auto pair = world.split(0, world.rank(), "ep");
    reduce(*pair, 4);
    world.reset();
    reduce(*pair, 2);
  });
  CHECK(logs[1].at("ep").at("all_reduce").calls == 1);
  CHECK(logs[1].at("ep").at("all_reduce").bytes == 16);
  CHECK(logs[1].count("world") == 0);
}

TEST_CASE("time spent waiting for a late peer is counted") {
  const auto logs = logs_of(2, [](Communicator& world) {
    if (world.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    world.barrier();
  });
  CHECK(logs[0].at("world").at("barrier").seconds > 0.03);
}
