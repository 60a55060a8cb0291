#pragma once

#include <nlohmann/json.hpp>

#include "trainer/memory_estimate.h"

namespace dsmoe::train {

/// Bytes per rank by kind, as `inspect --json` and `train --dry-run --json` print them.
[[nodiscard]] inline nlohmann::ordered_json memory_json(const MemoryEstimate& memory) {
  return {{"weights", memory.weights},     {"gradients", memory.gradients},
          {"optimizer", memory.optimizer}, {"activations", memory.activations},
          {"copies", memory.copies},       {"data", memory.data},
          {"program", memory.program},     {"total", memory.total()}};
}

}  // namespace dsmoe::train
