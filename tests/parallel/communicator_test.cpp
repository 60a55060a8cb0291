#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "configs/errors.h"
#include "parallel/communicator.h"
#include "parallel/local_communicator.h"
#include "parallel/thread_communicator.h"
#include "tests/support/catch.h"
#include "tests/support/rank_suite.h"
#include "tests/support/thread_world.h"

using dsmoe::CommError;
using dsmoe::parallel::Communicator;
using dsmoe::parallel::LocalCommunicator;
using dsmoe::parallel::ReduceOp;
using dsmoe::test::run_ranks;

namespace {

void reduce_one(Communicator& group) {
  auto tensor = at::full({1}, 1.0);
  group.all_reduce(tensor, ReduceOp::kSum);
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no exception";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the local communicator passes every communicator case") {
  LocalCommunicator world;
  for (const auto& failure : dsmoe::test::run_rank_cases(world, "communicator:")) {
    FAIL_CHECK(failure);
  }
}

TEST_CASE("a world of one thread passes every communicator case") {
  for (const auto& failure : dsmoe::test::run_rank_cases_on_threads(1, "communicator:")) {
    FAIL_CHECK(failure);
  }
}

TEST_CASE("the first exception of a rank comes out and its peers stop waiting") {
  std::vector<std::string> seen(4);
  std::atomic<int> odd_ranks_in_world{0};
  const auto run = [&] {
    run_ranks(4, [&](Communicator& world) {
      const auto half = world.split(world.rank() % 2, world.rank(), "half");
      if (world.rank() == 2) {
        while (odd_ranks_in_world < 2) std::this_thread::yield();
        throw std::domain_error("rank two is ill");
      }
      try {
        half->barrier();
        ++odd_ranks_in_world;
        world.barrier();
      } catch (const CommError& error) {
        seen[static_cast<size_t>(world.rank())] = error.what();
        throw;
      }
    });
  };
  REQUIRE_THROWS_AS(run(), std::domain_error);
  CHECK(has(seen[0], "barrier failed on group 'half', rank 0 of 2: rank 2 threw: rank two is ill"));
  CHECK(has(seen[1], "on group 'world', rank 1 of 4: rank 2 threw: rank two is ill"));
}

TEST_CASE("ranks that make different calls get an error instead of a hang") {
  const auto message = message_of([] {
    run_ranks(2, [](Communicator& world) {
      if (world.rank() == 0) return reduce_one(world);
      world.barrier();
    });
  });
  CHECK(has(message, "rank 0 calls all_reduce sum of Float [1], rank 1 calls barrier"));
}

TEST_CASE("a rank that returns early is missed by its peers at once") {
  const auto message = message_of([] {
    run_ranks(3, [](Communicator& world) {
      if (world.rank() != 1) reduce_one(world);
    });
  });
  CHECK(has(message, "rank 1 left the group"));
}

TEST_CASE("split sizes that do not match the sender's are an error with both numbers") {
  const auto message = message_of([] {
    run_ranks(2, [](Communicator& world) {
      const auto input = at::full({4, 2}, 1.0);
      auto output = at::full({3, 2}, 0.0);
      world.all_to_all(output, input, {1, 2}, {2, 2});
    });
  });
  CHECK(has(message, "sends 2 rows, output_split_sizes expects 1"));
}

TEST_CASE("a rank waits for a silent peer only as long as it was told to") {
  const auto ranks = dsmoe::parallel::make_thread_world(2, /*timeout_seconds=*/0.05);
  const auto message = message_of([&] { ranks[0]->barrier(); });
  CHECK(has(message, "1 of 2 ranks arrived within 0.05"));
}

TEST_CASE("an exchange does not block until it is waited for, and delivers only then") {
  const auto ranks = dsmoe::parallel::make_thread_world(2, /*timeout_seconds=*/5.0);
  std::vector<at::Tensor> outputs{at::full({2}, -1.0), at::full({2}, -1.0)};
  const auto input = [](double value) { return at::full({2}, value); };
  const auto first = ranks[0]->all_to_all_async(outputs[0], input(10), {1, 1}, {1, 1});
  CHECK_FALSE(first->poll());
  const auto second = ranks[1]->all_to_all_async(outputs[1], input(20), {1, 1}, {1, 1});
  CHECK(outputs[0][1].item<double>() == -1);
  CHECK(first->poll());
  second->wait();
  CHECK(outputs[0][1].item<double>() == 20);
  CHECK(outputs[1][0].item<double>() == 10);
}
