#pragma once

#include <functional>

#include "modules/block.h"

namespace dsmoe::nn {

/// Runs a layer, or what follows its attention. routing: of an earlier run, which is followed
/// instead of being decided; undefined in the first run.
using RunLayer = std::function<BlockOutput(const at::Tensor& h_NM, const RoutingRecord* routing)>;

/// Its output without the activations within: the backward pass runs it again on the same input and
/// routing, where it exchanges rows but neither counts nor addresses. The routing's
/// scores and logits stand in the graph. Collective as the layer is; backward too.
[[nodiscard]] BlockOutput run_recomputed(const RunLayer& run, const at::Tensor& h_NM);

}  // namespace dsmoe::nn
