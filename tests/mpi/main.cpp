// Runs the rank cases under mpirun: every rank runs all of them, rank 0 reports for all.
//   test_FLOOR_mpi            the cases
//   test_FLOOR_mpi abort      rank 1 calls abort(7) while the others wait
//   test_FLOOR_mpi throw      rank 1 throws through the world and ends with 9 while others wait
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

#include "parallel/backends.h"
#include "tests/support/rank_suite.h"

namespace {

using dsmoe::parallel::Communicator;
using dsmoe::parallel::ReduceOp;
using dsmoe::parallel::World;

std::string join(const dsmoe::test::Failures& failures) {
  std::string text;
  for (const auto& failure : failures) text += "FAILED " + failure + "\n";
  return text;
}

/// The texts of all ranks, one behind the other, on every rank.
std::string gather_text(Communicator& world, const std::string& text) {
  auto longest = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  world.all_reduce(longest, ReduceOp::kMax);
  const auto width = longest.item<int64_t>();
  auto mine = at::zeros({1, width}, at::kChar);
  std::copy(text.begin(), text.end(), mine.mutable_data_ptr<int8_t>());
  auto all = at::zeros({world.size(), width}, at::kChar);
  world.all_gather(all, mine);
  std::string result(static_cast<const char*>(all.const_data_ptr()), all.nbytes());
  std::erase(result, '\0');
  return result;
}

int run_cases(World& world) {
  const auto failures = dsmoe::test::run_rank_cases(world.communicator());
  const auto text = gather_text(world.communicator(), join(failures));
  if (world.communicator().rank() == 0) {
    std::cout << text << dsmoe::test::rank_cases().size() << " cases on "
              << world.communicator().size() << " ranks: " << (text.empty() ? "passed" : "FAILED")
              << std::endl;
  }
  return text.empty() ? 0 : 1;
}

int run_aborting(World& world) {
  if (world.communicator().rank() == 1) world.abort(7);
  world.communicator().barrier();
  return 0;
}

int run_throwing() {
  try {
    const auto world = dsmoe::parallel::start("mpi");
    if (world->communicator().rank() == 1) throw std::runtime_error("thrown by rank 1");
    world->communicator().barrier();
  } catch (const std::exception&) {
    return 9;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "cases";
  if (mode == "throw") return run_throwing();
  at::set_num_threads(1);
  const auto world = dsmoe::parallel::start("mpi");
  try {
    return mode == "abort" ? run_aborting(*world) : run_cases(*world);
  } catch (const std::exception& error) {
    std::cerr << "FAILED " << error.what() << std::endl;
    world->abort(1);
  }
}
