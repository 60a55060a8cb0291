#include "trainer/network_bench.h"

#include <algorithm>
#include <functional>

#include "trainer/stopwatch.h"

namespace dsmoe::train {
namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

at::Tensor rows(int64_t bytes) { return at::zeros({bytes / 4}, at::kFloat); }

/// There and back between rank 0 and `rank`.
void ping_pong(parallel::Communicator& world, int64_t rank, at::Tensor there, at::Tensor back) {
  const bool first = world.rank() == 0;
  at::Tensor& sent = first ? there : back;
  at::Tensor& received = first ? back : there;
  const int64_t peer = first ? rank : 0;
  if (first) world.send_async(sent, peer)->wait();
  world.receive_async(received, peer)->wait();
  if (!first) world.send_async(sent, peer)->wait();
}

double time_round_trip(parallel::Communicator& world, int64_t rank, int64_t bytes,
                       int64_t repetitions) {
  const at::Tensor there = rows(bytes), back = rows(8);
  std::vector<double> seconds;
  for (int64_t i = -2; i < repetitions; ++i) {
    Stopwatch watch;
    ping_pong(world, rank, there, back);
    if (i >= 0) seconds.push_back(watch.seconds());
  }
  return median(seconds);
}

LinkTime time_link(parallel::Communicator& world, int64_t rank, int64_t repetitions) {
  constexpr int64_t kSmall = 8, kLarge = int64_t{16} << 20;
  LinkTime link{rank};
  if (world.rank() == 0 || world.rank() == rank) {
    const double round_trip = time_round_trip(world, rank, kSmall, 20 * repetitions);
    link.latency = round_trip / 2;
    const double large = time_round_trip(world, rank, kLarge, repetitions);
    link.bytes_per_second = static_cast<double>(kLarge) / std::max(large - link.latency, 1e-9);
  }
  at::Tensor values = torch::tensor({link.latency, link.bytes_per_second}, at::kDouble);
  world.broadcast(values, 0);
  link.latency = values[0].item<double>();
  link.bytes_per_second = values[1].item<double>();
  return link;
}

/// Until the last rank is through, from when all are there.
double time_collective(parallel::Communicator& world, int64_t repetitions,
                       const std::function<void()>& run) {
  std::vector<double> seconds;
  for (int64_t i = -2; i < repetitions; ++i) {
    world.barrier();
    Stopwatch watch;
    run();
    at::Tensor longest = at::full({1}, watch.seconds(), at::kDouble);
    world.all_reduce(longest, parallel::ReduceOp::kMax);
    if (i >= 0) seconds.push_back(longest.item<double>());
  }
  return median(seconds);
}

/// An operation, made ready for `bytes` a rank, a multiple of 4 times the ranks.
struct Operation {
  const char* name;
  double crossing;  ///< of the bytes, those that cross a rank's link, with many ranks
  std::function<std::function<void()>(parallel::Communicator&, int64_t bytes)> prepare;
};

std::vector<Operation> operations() {
  using parallel::Communicator;
  return {{"all_reduce", 2,
           [](Communicator& world, int64_t bytes) {
             return [&world, all = rows(bytes)]() mutable {
               world.all_reduce(all, parallel::ReduceOp::kSum);
             };
           }},
          {"reduce_scatter", 1,
           [](Communicator& world, int64_t bytes) {
             return [&world, part = rows(bytes / world.size()), all = rows(bytes)]() mutable {
               world.reduce_scatter(part, all);
             };
           }},
          {"all_gather", 1,
           [](Communicator& world, int64_t bytes) {
             return [&world, all = rows(bytes), part = rows(bytes / world.size())]() mutable {
               world.all_gather(all, part);
             };
           }},
          {"all_to_all", 1, [](Communicator& world, int64_t bytes) {
             const std::vector<int64_t> splits(static_cast<size_t>(world.size()),
                                               bytes / 4 / world.size());
             return [&world, splits, out = rows(bytes), in = rows(bytes)]() mutable {
               world.all_to_all(out, in, splits, splits);
             };
           }}};
}

}  // namespace

NetworkTimes bench_network(parallel::Communicator& world, int64_t repetitions) {
  NetworkTimes times;
  for (int64_t rank = 1; rank < world.size(); ++rank) {
    times.links.push_back(time_link(world, rank, repetitions));
  }
  const auto ranks = static_cast<double>(world.size());
  for (const Operation& operation : operations()) {
    for (const int64_t about : {int64_t{1} << 14, int64_t{1} << 20, int64_t{1} << 26}) {
      const int64_t unit = 4 * world.size(), bytes = (about + unit - 1) / unit * unit;
      const double seconds = time_collective(world, repetitions, operation.prepare(world, bytes));
      const double crossing = operation.crossing * (ranks - 1) / ranks;
      times.collectives.push_back(
          {operation.name, bytes, seconds, crossing * static_cast<double>(bytes) / seconds});
    }
  }
  return times;
}

}  // namespace dsmoe::train
