#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "parallel/communicator.h"

namespace dsmoe::parallel {

/// Where this rank computes, and who moves what lies there.
struct Device {
  c10::Device where = c10::Device(c10::kCPU);
  /// All ranks of `host`, for tensors of the host and of the device; null on the CPU, where host
  /// itself serves.
  std::unique_ptr<Communicator> communicator = nullptr;
};

/// Whether this build computes on `run.device: name`. Local.
[[nodiscard]] bool builds_device(const std::string& name);

/// The device for `run.device: name`, with host's ranks on it. host is borrowed. Collective over
/// host. Throws ConfigError, on every rank, for one that is not in this build or not on its
/// machine.
[[nodiscard]] Device use_device_of_run(const std::string& name, Communicator& host);

}  // namespace dsmoe::parallel
