// A build without NCCL computes on the CPU.
#include "configs/errors.h"
#include "parallel/devices.h"

namespace dsmoe::parallel {

bool builds_device(const std::string& name) { return name == "cpu"; }

Device use_device_of_run(const std::string& name, Communicator& /*host*/) {
  if (builds_device(name)) return {};
  throw ConfigError("run.device: " + name + " is not in this build, which computes on the CPU\n" +
                    "hint: set run.device=cpu, or build with CUDA: README.md, \"CUDA\"");
}

}  // namespace dsmoe::parallel
