#pragma once

#include <string>
#include <vector>

#include "configs/model_config.h"
#include "configs/node.h"

namespace dsmoe::config {

/// DIR itself if it holds config.json, else DIR/model (a step directory). Throws ConfigError naming
/// both when neither does.
std::string find_model_directory(const std::string& directory);

/// The architecture of a model directory, from its config.json. Notices say what a published file
/// says that is not used; our own files repeat keys for other programs, and give none.
ModelConfig read_model_directory(const std::string& model_directory,
                                 std::vector<std::string>& notices);

/// Whether a model section says everything, as the dump of a resolved configuration does.
bool is_complete_model(const Node* model);

}  // namespace dsmoe::config
