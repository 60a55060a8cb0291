// Whole steps on NCCL's communicator, by LibTorch's operations as on a device: the trainer's cases
// that run with ranks as threads and as processes, once more.
#include <string>
#include <vector>

#include "modules/own_kernels.h"
#include "tests/nccl/nccl_world.h"
#include "tests/support/catch.h"
#include "tests/support/rank_suite.h"

using dsmoe::test::NcclRank;

namespace {

/// LibTorch's operations round elsewhere than the kernels: in float32 layouts agree to 2e-6.
constexpr const char* kOfKernels = "layout: single precision agrees to 1e-6";

dsmoe::test::Failures run_cases(NcclRank& rank) {
  dsmoe::test::Failures all;
  for (const auto& one : dsmoe::test::rank_cases()) {
    if (one.name == kOfKernels) continue;
    for (const auto& failure : one.run(rank.world)) all.push_back(one.name + ": " + failure);
  }
  return all;
}

}  // namespace

TEST_CASE("the trainer passes every case of ranks on the NCCL communicator") {
  const dsmoe::nn::WithoutOwnKernels without;
  constexpr double kPatient = 60.0;  // seconds
  for (const int64_t size : {2, 4}) {
    std::vector<dsmoe::test::Failures> by_rank(static_cast<size_t>(size));
    dsmoe::test::run_nccl_ranks(size, kPatient, [&](NcclRank& rank) {
      by_rank[static_cast<size_t>(rank.host.rank())] = run_cases(rank);
    });
    for (const auto& failures : by_rank) {
      for (const auto& failure : failures) FAIL_CHECK(failure);
    }
  }
}
