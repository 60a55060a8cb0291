#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "modules/router_variation.h"
#include "modules/segments.h"

namespace dsmoe::nn {

/// The B sequences of one micro-batch, as dropping, attention and the balance losses see them.
struct SequenceInfo {
  std::vector<int64_t> pools;  ///< pool of each sequence; a sequence's position in the batch / pool
  std::vector<bool> protected_;  ///< never dropped, V2 section 2.2.4
  at::Tensor valid_BT{};         ///< bool; undefined: no padding
  Segments segments{};           ///< the documents in the B * T rows; none: each sequence is one
  RouterVariation variation{};   ///< of a study's training step
  bool router_input = false;     ///< records tell what the router saw, which fills memory
  /// What the input dropout of adapters is drawn from, for each of the B * T rows; none: no
  /// dropout.
  std::vector<uint64_t> row_keys{};
};

}  // namespace dsmoe::nn
