#pragma once

#include <torch/nn/module.h>

#include "modules/adapter.h"

namespace dsmoe::nn {

/// Walks the linear layers and experts of a model and adapts those that the plan names; see
/// ModelImpl::add_adapters.
void add_adapters(torch::nn::Module& model, const AdapterPlan& plan, int64_t num_experts);

}  // namespace dsmoe::nn
