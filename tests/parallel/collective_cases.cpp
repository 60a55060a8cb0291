// What all_reduce, all_gather, broadcast, barrier and split promise, on any backend.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"

namespace dsmoe::test {
namespace {

using parallel::Communicator;
using parallel::ReduceOp;

Failures gathers_in_rank_order(Communicator& world) {
  Checks checks;
  const auto mine = at::arange(6).view({2, 3}) + 10 * world.rank();
  auto all = at::full({2 * world.size(), 3}, -1, at::kLong);
  world.all_gather(all, mine.contiguous());
  for (int64_t peer = 0; peer < world.size(); ++peer) {
    checks.equal(all.narrow(0, 2 * peer, 2), at::arange(6).view({2, 3}) + 10 * peer,
                 "the block of rank " + std::to_string(peer));
  }
  auto nothing = at::empty({0, 3});
  world.all_gather(nothing, at::empty({0, 3}));
  return checks.failures();
}

Failures reduces(Communicator& world) {
  Checks checks;
  const int64_t size = world.size();
  for (const auto dtype : {at::kFloat, at::kDouble, at::kLong}) {
    const auto base = at::arange(1, 1000).to(dtype);
    at::Tensor sum = base * (world.rank() + 1);
    world.all_reduce(sum, ReduceOp::kSum);
    checks.equal(sum, base * (size * (size + 1) / 2), "sum");
    at::Tensor max = base * (world.rank() - 1);
    world.all_reduce(max, ReduceOp::kMax);
    checks.equal(max, size == 1 ? base * -1 : base * (size - 2), "max");
  }
  auto scalar = at::scalar_tensor(2.5, at::kDouble);
  world.all_reduce(scalar, ReduceOp::kSum);
  checks.equal(scalar, at::scalar_tensor(2.5 * static_cast<double>(size), at::kDouble), "scalar");
  auto nothing = at::empty({0, 4});
  world.all_reduce(nothing, ReduceOp::kSum);
  return checks.failures();
}

Failures reduces_and_scatters(Communicator& world) {
  Checks checks;
  const int64_t size = world.size();
  for (const auto dtype : {at::kFloat, at::kDouble, at::kLong}) {
    const auto base = at::arange(size * 3 * 2).view({size * 3, 2}).to(dtype);
    auto mine = at::full({3, 2}, -1, dtype);
    world.reduce_scatter(mine, base * (world.rank() + 1));
    checks.equal(mine, base.narrow(0, 3 * world.rank(), 3) * (size * (size + 1) / 2),
                 "the sum of this rank's block");
  }
  auto nothing = at::empty({0, 3});
  world.reduce_scatter(nothing, at::empty({0, 3}));
  return checks.failures();
}

/// Values whose sum depends on its order: all ranks must still hold the same bits, every time.
Failures reduces_to_the_same_bits(Communicator& world) {
  Checks checks;
  const auto mine =
      at::sin(at::arange(100003, at::kFloat) * (static_cast<double>(world.rank()) + 1.7)) * 1e3;
  at::Tensor sum = mine.clone();
  world.all_reduce(sum, ReduceOp::kSum);
  auto all = at::empty({world.size() * sum.size(0)});
  world.all_gather(all, sum);
  checks.equal(all.narrow(0, 0, sum.size(0)), sum, "the sum on rank 0 and here");
  at::Tensor again = mine.clone();
  world.all_reduce(again, ReduceOp::kSum);
  checks.equal(again, sum, "a second reduction");
  return checks.failures();
}

Failures broadcasts_from_any_root(Communicator& world) {
  Checks checks;
  for (int64_t root = 0; root < world.size(); ++root) {
    auto tensor = at::full({3, 5}, world.rank() + 7, at::kBFloat16);
    world.broadcast(tensor, root);
    checks.equal(tensor, at::full({3, 5}, root + 7, at::kBFloat16),
                 "the tensor of root " + std::to_string(root));
    auto nothing = at::empty({0});
    world.broadcast(nothing, root);
  }
  return checks.failures();
}

Failures splits_by_color_and_key(Communicator& world) {
  Checks checks;
  const int64_t parity = world.rank() % 2;
  const auto half = world.split(parity, -world.rank(), "half");
  const int64_t expected_size = (world.size() + 1 - parity) / 2;
  checks.equal(half->size(), expected_size, "size");
  checks.equal(half->rank(), expected_size - 1 - world.rank() / 2, "rank under falling keys");
  checks.that(half->name() == "half", "name is " + half->name());
  auto sum = at::full({1}, world.rank(), at::kLong);
  half->all_reduce(sum, ReduceOp::kSum);
  checks.equal(sum.item<int64_t>(), expected_size * (expected_size - 1 + parity),
               "sum of ranks of equal parity");
  return checks.failures();
}

/// Groups do not wait for each other: only one of the halves communicates.
Failures groups_are_independent(Communicator& world) {
  Checks checks;
  const auto half = world.split(world.rank() % 2, world.rank(), "half");
  const auto alone = half->split(half->rank(), 0, "alone");
  auto count = at::full({1}, 1, at::kLong);
  if (world.rank() % 2 == 0) {
    for (int i = 0; i < 3; ++i) half->all_reduce(count, ReduceOp::kMax);
    half->barrier();
  }
  alone->all_reduce(count, ReduceOp::kSum);
  world.all_reduce(count, ReduceOp::kSum);
  checks.equal(count.item<int64_t>(), world.size(), "ranks counted in the world");
  checks.equal(alone->size(), 1, "size of a group of one");
  world.barrier();
  return checks.failures();
}

Failures rejects_wrong_arguments(Communicator& world) {
  Checks checks;
  const auto size = static_cast<size_t>(world.size());
  const std::vector<int64_t> ones(size, 1);
  auto output = at::empty({world.size(), 4});
  const auto input = at::empty({world.size(), 4});
  const auto exchange = [&](at::Tensor out, const at::Tensor& in, std::vector<int64_t> out_splits,
                            std::vector<int64_t> in_splits) {
    return [&world, out, in, out_splits, in_splits]() mutable {
      world.all_to_all(out, in, out_splits, in_splits);
    };
  };
  const auto refuses = [&](const std::function<void()>& call, const std::string& part) {
    checks.throws<c10::Error>(call, part, "a wrong argument");
  };
  refuses(exchange(at::empty({world.size(), 3, 2}), at::empty({world.size(), 2, 3}).transpose(1, 2),
                   ones, ones),
          "3, 2] and strides [6, 1, 3] is not contiguous");
  refuses(exchange(output, at::empty({world.size(), 5}), ones, ones), "rows differ");
  refuses(exchange(output, input.to(at::kDouble), ones, ones), "input is Double");
  refuses(exchange(output, input, std::vector<int64_t>(size, 2), ones), "add up to");
  refuses(exchange(output, input, ones, std::vector<int64_t>(size + 1, 1)), "counts, the group");
  refuses(exchange(output, output, ones, ones), "same memory");
  auto half = at::zeros({3}, at::kBFloat16);
  refuses([&] { world.all_reduce(half, ReduceOp::kSum); }, "[3] is BFloat16");
  auto strided = at::zeros({3, 4}).t();
  refuses([&] { world.all_reduce(strided, ReduceOp::kSum); }, "[4, 3]");
  auto small = at::empty({world.size() + 1, 4});
  refuses([&] { world.all_gather(small, at::empty({1, 4})); }, "all_gather on group 'world'");
  refuses([&] { world.reduce_scatter(small, at::empty({1, 4})); },
          "reduce_scatter on group 'world'");
  refuses([&] { world.broadcast(output, world.size()); }, "root");
  refuses([&] { static_cast<void>(world.split(-1, 0, "none")); }, "color -1");
  return checks.failures();
}

const bool registered =
    register_rank_case("communicator: all_gather keeps rank order", gathers_in_rank_order) &&
    register_rank_case("communicator: all_reduce sums and takes maxima", reduces) &&
    register_rank_case("communicator: reduce_scatter gives each rank its sum",
                       reduces_and_scatters) &&
    register_rank_case("communicator: all_reduce gives all ranks the same bits",
                       reduces_to_the_same_bits) &&
    register_rank_case("communicator: broadcast serves any root", broadcasts_from_any_root) &&
    register_rank_case("communicator: split groups by color and orders by key",
                       splits_by_color_and_key) &&
    register_rank_case("communicator: groups do not wait for each other", groups_are_independent) &&
    register_rank_case("communicator: wrong arguments are refused before anything is sent",
                       rejects_wrong_arguments);

}  // namespace
}  // namespace dsmoe::test
