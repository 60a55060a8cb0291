#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace dsmoe::train {

/// Messages between rank 0 and another one, while all others wait.
struct LinkTime {
  int64_t rank = 0;
  double latency = 0;           ///< seconds one way: half a round trip of 8 bytes
  double bytes_per_second = 0;  ///< one way, 16 MiB at a time
};

/// A collective over all ranks, of which each has `bytes` (of the larger of input and output).
struct CollectiveTime {
  std::string operation;
  int64_t bytes = 0;
  double seconds = 0;  ///< until the last rank is through
  /// Bytes that cross a rank's link in the operation's ring or direct form, by seconds: comparable
  /// over operations and numbers of ranks, as NCCL's tests tell it.
  double bus_bytes_per_second = 0;
};

struct NetworkTimes {
  std::vector<LinkTime> links;  ///< of rank 0, by rank
  std::vector<CollectiveTime> collectives;
};

/// Medians of `repetitions`. The same on every rank. Collective; at least 2 ranks.
[[nodiscard]] NetworkTimes bench_network(parallel::Communicator& world, int64_t repetitions);

}  // namespace dsmoe::train
