// What all_reduce, all_gather, broadcast, barrier and split promise, on any backend.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>

#include <memory>
#include <vector>

#include "configs/errors.h"
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

/// Two reductions under way at once, and one to each root in turn, while another call is made.
Failures reduces_under_way(Communicator& world) {
  Checks checks;
  const int64_t size = world.size();
  for (const auto dtype : {at::kFloat, at::kDouble, at::kLong}) {
    const auto base = at::arange(1, 600000).remainder(1000).add(1).to(dtype);
    at::Tensor sum = base * (world.rank() + 1);
    at::Tensor max = base * (world.rank() - 1);
    const auto first = world.all_reduce_async(sum, ReduceOp::kSum);
    const auto second = world.all_reduce_async(max, ReduceOp::kMax);
    std::vector<at::Tensor> parts;
    std::vector<std::unique_ptr<parallel::Work>> works;
    for (int64_t root = 0; root < size; ++root) {
      parts.push_back(base * (world.rank() + 1 + root));
      works.push_back(world.reduce_async(parts.back(), root));
    }
    world.barrier();
    second->wait();
    first->wait();
    checks.equal(sum, base * (size * (size + 1) / 2), "sum");
    checks.equal(max, size == 1 ? base * -1 : base * (size - 2), "max");
    for (const auto& work : works) work->wait();
    const int64_t own = world.rank();
    checks.equal(parts[static_cast<size_t>(own)], base * (size * (size + 1) / 2 + size * own),
                 "the sum on its root");
    while (!first->poll()) {
    }
  }
  auto nothing = at::empty({0});
  world.all_reduce_async(nothing, ReduceOp::kSum)->wait();
  world.reduce_async(nothing, 0)->wait();
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

/// To the next rank and the one before, several on their way at once, large and empty ones.
Failures sends_in_order(Communicator& world) {
  Checks checks;
  const int64_t size = world.size(), rank = world.rank();
  if (size == 1) return checks.failures();
  constexpr int64_t kMany = 5, kLarge = 300000;  // beyond what a library sends eagerly
  std::vector<std::unique_ptr<parallel::Work>> works;
  std::vector<at::Tensor> got;
  const auto shape_of = [](int64_t i) {
    return i == 3 ? std::vector<int64_t>{0, 4} : std::vector<int64_t>{kLarge / 4, 4};
  };
  for (const int64_t step : {int64_t{1}, size - 1}) {
    for (int64_t i = 0; i < kMany; ++i) {
      got.push_back(at::full(shape_of(i), -1, at::kBFloat16));
      works.push_back(world.receive_async(got.back(), (rank + size - step) % size));
    }
    for (int64_t i = 0; i < kMany; ++i) {
      works.push_back(world.send_async(at::full(shape_of(i), rank * 10 + i, at::kBFloat16),
                                       (rank + step) % size));
    }
  }
  while (!works.front()->poll()) continue;
  for (const auto& work : works) work->wait();
  for (size_t k = 0; k < got.size(); ++k) {
    const auto i = static_cast<int64_t>(k) % kMany;
    const int64_t step = k < kMany ? 1 : size - 1;
    checks.equal(got[k], at::full(shape_of(i), (rank + size - step) % size * 10 + i, at::kBFloat16),
                 "message " + std::to_string(k));
  }
  return checks.failures();
}

/// A message of fewer rows than are waited for is an error where it is waited for.
Failures refuses_a_short_message(Communicator& world) {
  Checks checks;
  if (world.size() == 1) return checks.failures();
  if (world.rank() == 0) world.send_async(at::zeros({2, 3}), 1)->wait();
  if (world.rank() == 1) {
    at::Tensor longer = at::zeros({3, 3});
    const auto work = world.receive_async(longer, 0);
    checks.throws<CommError>([&] { work->wait(); }, "receive", "a short message");
  }
  world.barrier();
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
  refuses([&] { static_cast<void>(world.send_async(output, world.rank())); }, "no other one");
  refuses([&] { static_cast<void>(world.receive_async(output, world.size())); }, "no other one");
  return checks.failures();
}

const bool registered =
    register_rank_case("communicator: all_gather keeps rank order", gathers_in_rank_order) &&
    register_rank_case("communicator: all_reduce sums and takes maxima", reduces) &&
    register_rank_case("communicator: reductions go on while others are made", reduces_under_way) &&
    register_rank_case("communicator: reduce_scatter gives each rank its sum",
                       reduces_and_scatters) &&
    register_rank_case("communicator: all_reduce gives all ranks the same bits",
                       reduces_to_the_same_bits) &&
    register_rank_case("communicator: broadcast serves any root", broadcasts_from_any_root) &&
    register_rank_case("communicator: split groups by color and orders by key",
                       splits_by_color_and_key) &&
    register_rank_case("communicator: messages arrive in the order they were sent in",
                       sends_in_order) &&
    register_rank_case("communicator: a message of another size is refused",
                       refuses_a_short_message) &&
    register_rank_case("communicator: groups do not wait for each other", groups_are_independent) &&
    register_rank_case("communicator: wrong arguments are refused before anything is sent",
                       rejects_wrong_arguments);

}  // namespace
}  // namespace dsmoe::test
