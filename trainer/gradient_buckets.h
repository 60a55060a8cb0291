#pragma once

#include <cstdint>
#include <vector>

#include "configs/model_config.h"
#include "modules/layer_slices.h"
#include "modules/parameter_store.h"

namespace dsmoe::train {

/// Consecutive numbers of a flat gradient.
struct GradientRange {
  int64_t begin = 0;
  int64_t end = 0;

  bool operator==(const GradientRange&) const = default;
};

/// Gradients that are summed over the ranks together.
struct GradientBucket {
  nn::ParameterGroup group = nn::ParameterGroup::kDense;
  std::vector<GradientRange> ranges;  ///< ascending, apart
  /// The bucket is complete when the backward passes have left this layer of the slice: everything
  /// behind it is, too. Final norm and head: those of the last layer; embeddings: -1.
  size_t slice = 0;
  int64_t layer = 0;
};

/// Everything that is trained, in the order in which backward passes complete it: from the last
/// layer to the first. A bucket is closed when it has `bytes`, and where a slice ends. The same on
/// all ranks of a stage that hold the same experts; its dense buckets on all ranks of the stage.
[[nodiscard]] std::vector<GradientBucket> gradient_buckets(
    const nn::ParameterStore& store, const std::vector<nn::LayerSlice>& slices,
    const config::ModelConfig& model, int64_t bytes);

}  // namespace dsmoe::train
