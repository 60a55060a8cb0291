#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "configs/model_config.h"

namespace dsmoe::nn {

/// A tensor of a published checkpoint, of the whole model, whoever holds it.
struct PublishedTensor {
  std::string name;
  std::vector<int64_t> shape;

  [[nodiscard]] int64_t numel() const;
};

/// Every tensor of the model under its published name, in the order of the layers; shapes
/// [out, in]. Source: the released checkpoints, reference section 5.2. Nothing is allocated.
[[nodiscard]] std::vector<PublishedTensor> published_tensors(const config::ModelConfig& config);

/// The layer that a tensor of this name is in; nothing for embedding, last norm and head.
[[nodiscard]] std::optional<int64_t> layer_of(const std::string& name);

/// Whether the name is a router's correction bias, which published files keep in float32.
[[nodiscard]] bool is_correction_bias(const std::string& name);

/// Whether the name is a routed expert's.
[[nodiscard]] bool is_routed_expert(const std::string& name);

}  // namespace dsmoe::nn
