#pragma once

#include <ATen/Dispatch.h>

/// Runs a lambda with scalar_t = float, double or c10::BFloat16: the types of a model.
#define DSMOE_DISPATCH(tensor, ...) \
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, (tensor).scalar_type(), __func__, __VA_ARGS__)
