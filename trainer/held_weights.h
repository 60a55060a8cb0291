#pragma once

#include <cstdint>
#include <vector>

#include "configs/run_config.h"
#include "modules/layer_slices.h"

namespace dsmoe::train {

/// Numbers that one rank holds and trains, the experts' as if they were spread evenly.
struct HeldCount {
  int64_t held = 0;
  int64_t dense = 0;   ///< trained
  int64_t expert = 0;  ///< trained

  HeldCount& operator+=(const HeldCount& other);
};

/// Counts a model's weights once, then answers for any slices of it. With the adapters of a run.
class HeldWeights {
 public:
  /// Throws ConfigError where finetune.* trains nothing.
  explicit HeldWeights(const config::RunConfig& config);

  /// Of a rank that has these slices and 1 / expert_size of their experts.
  [[nodiscard]] HeldCount of(const std::vector<nn::LayerSlice>& slices, int64_t expert_size) const;

 private:
  /// Of the whole model; `held` without the experts.
  struct Part {
    HeldCount count;
    int64_t experts_held = 0;
  };

  std::vector<Part> layers_;
  Part embedding_;
  Part head_;
};

}  // namespace dsmoe::train
