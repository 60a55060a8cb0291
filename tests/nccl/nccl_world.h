#pragma once

#include <cstdint>
#include <functional>

#include "parallel/communicator.h"
#include "parallel/nccl_group.h"

namespace dsmoe::test {

/// A rank of a world on NCCL's stand-in: every tensor counts as one of the device.
struct NcclRank {
  parallel::Communicator& host;  ///< of threads
  /// As it is: what it is asked to do may still be under way when a call returns.
  parallel::Communicator& device;
  /// Reads results as a copy to the host does: waits for the stream that computes.
  parallel::Communicator& world;
  parallel::DeviceStream compute;
};

/// Runs fn on `num_ranks` threads, each with a device of its own; see run_ranks.
void run_nccl_ranks(int64_t num_ranks, double timeout_seconds,
                    const std::function<void(NcclRank&)>& fn);

}  // namespace dsmoe::test
