// What only the MPI backend can get wrong; runs under mpirun on 2 and 4 ranks.
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>

#include <string>
#include <vector>

#include "configs/errors.h"
#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"

namespace dsmoe::test {
namespace {

using parallel::Communicator;

constexpr int64_t kTooManyRows = (int64_t{1} << 31) + 5;

/// Rows of zero width, so that 2^31 of them need no memory.
Failures refuses_too_many_rows(Communicator& world) {
  Checks checks;
  std::vector<int64_t> splits(static_cast<size_t>(world.size()), 0);
  splits.front() = kTooManyRows;
  auto output = at::empty({kTooManyRows, 0});
  const auto input = at::empty({kTooManyRows, 0});
  checks.throws<CommError>([&] { world.all_to_all(output, input, splits, splits); },
                           "rows is 2147483653, MPI counts at most 2147483647", "one large split");
  checks.throws<CommError>([&] { world.all_to_all(output, input, splits, splits); },
                           "all_to_all failed on group 'world', rank " +
                               std::to_string(world.rank()) + " of " + std::to_string(world.size()),
                           "one large split");
  return checks.failures();
}

Failures refuses_too_many_rows_in_sum(Communicator& world) {
  Checks checks;
  std::vector<int64_t> splits(static_cast<size_t>(world.size()), 0);
  splits.front() = kTooManyRows / 2;
  splits.back() = kTooManyRows - kTooManyRows / 2;
  auto output = at::empty({kTooManyRows, 0});
  const auto input = at::empty({kTooManyRows, 0});
  checks.throws<CommError>([&] { world.all_to_all(output, input, splits, splits); },
                           "rows is 2147483653", "two splits that are large together");
  return checks.failures();
}

/// The root sends more than the other rank makes room for: an error of the library itself.
Failures reports_the_librarys_text(Communicator& world) {
  Checks checks;
  const auto pair = world.split(world.rank() / 2, world.rank(), "pair");
  auto tensor = at::full({pair->rank() == 0 ? 4 : 2}, 1.0);
  const auto broadcast = [&] { pair->broadcast(tensor, 0); };
  if (pair->rank() == 0) {
    broadcast();
  } else {
    checks.throws<CommError>(broadcast,
                             "broadcast failed on group 'pair', rank 1 of 2: MPI_ERR_TRUNCATE",
                             "a broadcast that does not fit");
  }
  world.barrier();
  return checks.failures();
}

/// Longer than one library call takes: see kReduceChunk and kBroadcastChunk.
Failures cuts_long_tensors(Communicator& world) {
  Checks checks;
  const auto expected = at::arange((int64_t{1} << 22) + 5);
  at::Tensor sum = expected.clone();
  world.all_reduce(sum, parallel::ReduceOp::kSum);
  checks.equal(sum, expected.mul(world.size()), "the sum of long tensors");

  const auto sent = at::arange((int64_t{1} << 23) + 5);
  at::Tensor received = world.rank() == 1 ? sent.clone() : at::full_like(sent, -1);
  world.broadcast(received, 1);
  checks.equal(received, sent, "a long tensor from rank 1");
  return checks.failures();
}

const bool registered =
    register_rank_case("mpi: tensors longer than one call of the library arrive whole",
                       cuts_long_tensors) &&
    register_rank_case("mpi: more than 2^31 - 1 rows are refused with the number",
                       refuses_too_many_rows) &&
    register_rank_case("mpi: so are rows that are too many only in sum",
                       refuses_too_many_rows_in_sum) &&
    register_rank_case("mpi: an error of the library carries its text", reports_the_librarys_text);

}  // namespace
}  // namespace dsmoe::test
