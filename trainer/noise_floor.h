#pragma once

#include <cstdint>
#include <string>

#include "configs/run_config.h"
#include "trainer/step_report.h"

namespace dsmoe::train {

/// What routing by dice would show: each token takes K experts at random, out of M groups at random
/// where the method limits them. A violation at this height says nothing about the router.
struct NoiseFloor {
  int64_t tokens = 0;  ///< of the global batch
  LoadValues load;     ///< of one layer, expected values
};

/// By simulation of up to 16,384 tokens, eight times, always with the same dice; for larger batches
/// violations and cv shrink with the root of the tokens, 1 - entropy with the tokens, and no expert
/// is dead or starved.
[[nodiscard]] NoiseFloor noise_floor(const config::ModelConfig& model, int64_t tokens);

/// Of one step's global batch.
[[nodiscard]] NoiseFloor noise_floor_of(const config::RunConfig& config);

/// One JSON object: `tokens`, and the keys of `load` in metrics.jsonl.
[[nodiscard]] std::string to_json(const NoiseFloor& floor);

}  // namespace dsmoe::train
