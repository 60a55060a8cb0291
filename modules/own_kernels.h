#pragma once

#include <ATen/core/Tensor.h>

namespace dsmoe::nn {

/// Whether the kernels of modules/kernels, which are the host's, compute on x; elsewhere
/// operations of LibTorch do (library_operations.h). The one place that chooses.
[[nodiscard]] bool has_own_kernels(const at::Tensor& x);

/// While one lives, LibTorch's operations compute on the host as well, in every thread: how a
/// machine without a device tests them.
class WithoutOwnKernels final {
 public:
  WithoutOwnKernels();
  ~WithoutOwnKernels();
  WithoutOwnKernels(const WithoutOwnKernels&) = delete;
  WithoutOwnKernels& operator=(const WithoutOwnKernels&) = delete;
};

}  // namespace dsmoe::nn
