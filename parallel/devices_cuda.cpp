// What the communicator needs of LibTorch's CUDA part; the only file that includes it.
#include <c10/cuda/CUDAStream.h>

#include "parallel/choose_device.h"
#include "parallel/devices.h"
#include "parallel/nccl_communicator.h"

namespace dsmoe::parallel {

bool builds_device(const std::string& name) { return name == "cpu" || name == "cuda"; }

Device use_device_of_run(const std::string& name, Communicator& host) {
  if (name == "cpu") return {};
  const auto index = static_cast<c10::DeviceIndex>(choose_device(host));
  const DeviceHooks hooks{[] { return c10::cuda::getCurrentCUDAStream().stream(); },
                          [](const at::Tensor& tensor) { return tensor.is_cuda(); }};
  return {c10::Device(c10::kCUDA, index), make_nccl_communicator(host, hooks)};
}

}  // namespace dsmoe::parallel
