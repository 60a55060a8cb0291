#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

#include "parallel/communicator.h"
#include "parallel/nccl_group.h"

namespace dsmoe::parallel {

/// What the communicator asks of the tensor library.
struct DeviceHooks {
  /// The stream on which the calling thread computes.
  std::function<DeviceStream()> compute_stream;
  /// Whether the tensor's memory is the device's.
  std::function<bool(const at::Tensor&)> on_device;
};

/// The ranks of `host` as a group of the same name whose device tensors go by NCCL; host tensors go
/// by `host`, which is borrowed and outlives it. Uses the device that use_device() chose. Splits
/// split both. Collective over host; throws CommError when not all ranks join within the time.
///
/// Collectives run on one stream of the process, in program order over all its groups. Messages
/// have a communicator of two ranks and a stream for each sender and receiver, made at the first
/// message between them: on one stream a message that is waited for would stop those that its
/// sender waits for.
/// An operation begins when what the thread has computed so far is done; wait() makes what it
/// computes from then on wait, not the host. poll() and barrier() tell the host. An operation that
/// is not complete within `timeout_seconds` aborts its group, and the next call throws.
[[nodiscard]] std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host,
                                                                   const DeviceHooks& hooks,
                                                                   double timeout_seconds = 600.0);

}  // namespace dsmoe::parallel
