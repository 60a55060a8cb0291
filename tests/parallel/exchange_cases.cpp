// What all_to_all promises, on any backend and any number of ranks.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>

#include <chrono>
#include <thread>
#include <vector>

#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"

namespace dsmoe::test {
namespace {

using parallel::Communicator;

/// Uneven, with zeros: rank 0 sends nothing to rank 0, rank 1 three rows to rank 2, ...
int64_t rows_between(int64_t from, int64_t to) { return (from + 2 * to + from * to) % 4; }

at::Tensor rows_from(int64_t from, int64_t to, at::ScalarType dtype) {
  const int64_t rows = rows_between(from, to);
  return (at::arange(rows * 3).view({rows, 3}) + (from * 5 + to * 11)).to(dtype);
}

std::vector<int64_t> counts(const Communicator& world, bool sent) {
  std::vector<int64_t> result;
  for (int64_t peer = 0; peer < world.size(); ++peer) {
    result.push_back(sent ? rows_between(world.rank(), peer) : rows_between(peer, world.rank()));
  }
  return result;
}

at::Tensor all_rows(const Communicator& world, bool sent, at::ScalarType dtype) {
  std::vector<at::Tensor> parts;
  for (int64_t peer = 0; peer < world.size(); ++peer) {
    parts.push_back(sent ? rows_from(world.rank(), peer, dtype)
                         : rows_from(peer, world.rank(), dtype));
  }
  return at::cat(parts).contiguous();
}

Failures exchanges_uneven_rows(Communicator& world) {
  Checks checks;
  for (const auto dtype :
       {at::kFloat, at::kDouble, at::kLong, at::kInt, at::kByte, at::kBFloat16}) {
    const auto expected = all_rows(world, false, dtype);
    auto output = at::full_like(expected, 99);
    world.all_to_all(output, all_rows(world, true, dtype), counts(world, false),
                     counts(world, true));
    checks.equal(output, expected, "received rows");
  }
  return checks.failures();
}

Failures exchanges_nothing(Communicator& world) {
  Checks checks;
  const std::vector<int64_t> zeros(static_cast<size_t>(world.size()), 0);
  auto output = at::empty({0, 7});
  world.all_to_all(output, at::empty({0, 7}), zeros, zeros);
  checks.equal(output.size(0), 0, "rows of an empty exchange");

  const std::vector<int64_t> twos(static_cast<size_t>(world.size()), 2);
  auto narrow = at::empty({2 * world.size(), 0});
  world.all_to_all(narrow, at::empty({2 * world.size(), 0}), twos, twos);
  return checks.failures();
}

/// Rank 0 sends all its rows to the last rank; nobody else sends or receives any.
Failures exchanges_with_one_sender(Communicator& world) {
  Checks checks;
  const int64_t last = world.size() - 1;
  std::vector<int64_t> send(static_cast<size_t>(world.size()), 0);
  std::vector<int64_t> receive = send;
  if (world.rank() == 0) send.back() = 5;
  if (world.rank() == last) receive.front() = 5;
  const auto input = at::arange(world.rank() == 0 ? 5 : 0);
  auto output = at::full({world.rank() == last ? 5 : 0}, -1, at::kLong);
  world.all_to_all(output, input, receive, send);
  checks.equal(output, at::arange(world.rank() == last ? 5 : 0), "rows at the last rank");
  return checks.failures();
}

Failures keeps_several_exchanges_apart(Communicator& world) {
  Checks checks;
  const auto expected = all_rows(world, false, at::kFloat);
  auto first = at::full_like(expected, 99);
  auto second = at::full_like(expected, 99);
  // The inputs are temporaries: the Work keeps them alive.
  auto one = world.all_to_all_async(first, all_rows(world, true, at::kFloat), counts(world, false),
                                    counts(world, true));
  auto two = world.all_to_all_async(second, all_rows(world, true, at::kFloat) * 2,
                                    counts(world, false), counts(world, true));
  auto sum = at::full({1}, world.rank(), at::kLong);
  world.all_reduce(sum, parallel::ReduceOp::kSum);
  two->wait();
  while (!one->poll()) {
  }
  one->wait();
  checks.that(two->poll(), "a finished exchange stays finished");
  checks.equal(first, expected, "the first exchange");
  checks.equal(second, expected * 2, "the second exchange");
  return checks.failures();
}

/// Values differ in every row, and there are enough of them for the library's large-message path.
/// The last rank comes late, so that the others have something to wait for.
Failures exchanges_many_rows(Communicator& world) {
  Checks checks;
  constexpr int64_t kRows = 4096;
  const std::vector<int64_t> equal(static_cast<size_t>(world.size()), kRows);
  const int64_t size = world.size();
  const auto base = at::arange(kRows * 64, at::kDouble).view({kRows, 64});
  std::vector<at::Tensor> send;
  std::vector<at::Tensor> receive;
  for (int64_t peer = 0; peer < size; ++peer) {
    send.push_back(base * (world.rank() * size + peer + 1));
    receive.push_back(base * (peer * size + world.rank() + 1));
  }
  auto output = at::empty({size * kRows, 64}, at::kDouble);
  if (world.rank() == size - 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const auto work = world.all_to_all_async(output, at::cat(send), equal, equal);
  work->wait();
  checks.equal(output, at::cat(receive), "received rows");
  return checks.failures();
}

const bool registered =
    register_rank_case("communicator: all_to_all moves uneven rows of any dtype",
                       exchanges_uneven_rows) &&
    register_rank_case("communicator: all_to_all accepts zero rows and rows of zero width",
                       exchanges_nothing) &&
    register_rank_case("communicator: all_to_all serves one sender and one receiver",
                       exchanges_with_one_sender) &&
    register_rank_case("communicator: exchanges under way at once stay apart",
                       keeps_several_exchanges_apart) &&
    register_rank_case("communicator: all_to_all moves megabytes", exchanges_many_rows);

}  // namespace
}  // namespace dsmoe::test
