#pragma once

#include <string>

#include "configs/model_config.h"

namespace dsmoe::train {

/// A short hash of a model directory's weights: names, shapes, dtypes and values at places spread
/// over every tensor, whatever files they lie in. Reads some kilobytes a tensor.
[[nodiscard]] std::string base_fingerprint(const std::string& model_directory,
                                           const config::ModelConfig& model);

}  // namespace dsmoe::train
