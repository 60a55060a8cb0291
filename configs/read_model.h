#pragma once

#include <string>
#include <vector>

#include "configs/error_list.h"
#include "configs/model_config.h"
#include "configs/node.h"

namespace dsmoe::config {

/// Reads a model section or a pasted published config.json into `model`: used keys are read,
/// checked keys compared, informational ones answered with one notice each, others are errors.
/// rope_scaling with rope_theta and the newer rope_parameters are both read; a clash is an error.
/// `prefix` is `model`, or empty for a file that holds nothing else.
void read_model(const Node& map, const std::string& prefix, ModelConfig& model, ErrorList& errors,
                std::vector<std::string>& notices);

}  // namespace dsmoe::config
