#pragma once

#include <cstdint>

#include "parallel/communicator.h"

namespace dsmoe::parallel {

/// Makes one device of its machine the current one of this rank: the ranks of a machine take what
/// they see in rank order, from the first again where there are fewer than ranks, as where each
/// process is shown one. Collective over host; returns the device's index. Throws ConfigError, on
/// every rank, where a rank sees no device or two ranks would share one, which NCCL does not serve.
int64_t choose_device(Communicator& host);

}  // namespace dsmoe::parallel
