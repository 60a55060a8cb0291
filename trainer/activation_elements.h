#pragma once

#include <cstdint>

#include "configs/run_config.h"
#include "modules/recompute.h"

namespace dsmoe::train {

// Numbers that a micro-batch has in memory, per token and layer, by what has been done with it.
// `arrived`: rows that come from other ranks and one's own, per token; 0 where an expert group is
// one rank, whose tokens are the rows.

/// Between the forward and the backward pass, where whole layers are not run again.
[[nodiscard]] int64_t layer_elements(const config::ModelConfig& model, int64_t layer,
                                     const nn::Recompute& again, double arrived);

/// The same of a layer that is run again: its input, scores and logits.
[[nodiscard]] int64_t replayed_elements(const config::ModelConfig& model, int64_t layer);

/// That the layer's backward pass adds to these at most: what it makes again, and gradients. First
/// comes the feed-forward part, then attention, when what that part kept is gone.
/// later: but for what its weight gradients need, which are put off.
[[nodiscard]] int64_t backward_elements(const config::ModelConfig& model, int64_t layer,
                                        const nn::Recompute& again, double arrived, bool later);

/// After a backward pass whose weight gradients are put off: the inputs and the gradients of the
/// outputs of all products that have weights.
[[nodiscard]] int64_t put_off_elements(const config::ModelConfig& model, int64_t layer,
                                       const nn::Recompute& again, double arrived);

}  // namespace dsmoe::train
