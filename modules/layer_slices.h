#pragma once

#include <cstdint>
#include <vector>

#include "configs/run_config.h"

namespace dsmoe::nn {

/// Layers begin .. end - 1, run in one go. With layer 0 goes the embedding, with the last layer the
/// final norm and the head.
struct LayerSlice {
  int64_t begin = 0;
  int64_t end = 0;

  [[nodiscard]] bool first() const { return begin == 0; }
  [[nodiscard]] bool last(const config::ModelConfig& model) const {
    return end == model.num_hidden_layers;
  }
  bool operator==(const LayerSlice&) const = default;
};

/// The whole model as one slice.
[[nodiscard]] std::vector<LayerSlice> one_slice(const config::ModelConfig& model);

/// All slices of the run's pipeline in the model's order, parallel.pipeline * parallel.chunks of
/// them: as parallel.stage_layers lists them, else so that the slowest has the fewest operations of
/// a forward pass.
[[nodiscard]] std::vector<LayerSlice> pipeline_slices(const config::RunConfig& config);

/// Those of one stage: every parallel.pipeline-th.
[[nodiscard]] std::vector<LayerSlice> slices_of_stage(const config::RunConfig& config,
                                                      int64_t stage);

}  // namespace dsmoe::nn
