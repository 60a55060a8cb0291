#include "modules/own_kernels.h"

#include <atomic>

namespace dsmoe::nn {
namespace {

std::atomic<int> without{0};

}  // namespace

bool has_own_kernels(const at::Tensor& x) { return x.is_cpu() && without == 0; }

WithoutOwnKernels::WithoutOwnKernels() { ++without; }
WithoutOwnKernels::~WithoutOwnKernels() { --without; }

}  // namespace dsmoe::nn
