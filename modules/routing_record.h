#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "parallel/expert_route.h"

namespace dsmoe::nn {

/// What one MoE layer did in one forward pass. The layer returns it and keeps nothing.
struct RoutingRecord {
  int64_t layer = 0;
  at::Tensor scores_NE;   ///< affinities, in the autograd graph
  at::Tensor experts_NK;  ///< chosen experts, before dropping
  at::Tensor kept_NK;     ///< bool; undefined: everything is kept
  std::shared_ptr<const parallel::ExpertRoute> route;
  at::Tensor logits_NE{};  ///< the router's, in the autograd graph
  at::Tensor input_NM{};   ///< what the router saw, outside of the graph; where it was asked for
  /// How often a row, or a pair's gate weight, crosses, on each hop: out and back in forward, and
  /// in backward each way that a gradient takes. Frozen weights leave ways out.
  int64_t row_crossings = 2;
  int64_t pair_crossings = 1;
};

}  // namespace dsmoe::nn
