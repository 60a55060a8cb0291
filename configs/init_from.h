#pragma once

#include <string>
#include <vector>

#include "configs/model_config.h"
#include "configs/node.h"

namespace dsmoe::config {

/// DIR itself if it holds config.json, else DIR/model (a step directory). Throws ConfigError naming
/// both when neither does.
std::string find_model_directory(const std::string& directory);

/// The architecture of a Hugging Face or step directory, which `model.init_from` names. A notice
/// says where it was read, and others what a published file says that is not used.
ModelConfig read_model_directory(const std::string& directory, std::vector<std::string>& notices);

/// Whether a model section says everything, as the dump of a resolved configuration does.
bool is_complete_model(const Node* model);

}  // namespace dsmoe::config
