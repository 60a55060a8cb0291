#pragma once

#include <string>

#include "configs/node.h"
#include "configs/resolve.h"

namespace dsmoe::config {

/// The file of a preset such as `models/tiny` (`.yaml` is added): beside the YAML file, then in
/// the search path. An absolute path is taken as it is.
/// Throws ConfigError listing the places tried.
std::string find_preset(const std::string& name, const std::string& yaml_path,
                        const SearchPath& search);

/// Whether a file holds model keys at its top instead of sections.
bool is_model_file(const Node& root);

/// The model keys of a preset: what stands under `model:`, or the whole file.
Node model_part(const Node& root);

}  // namespace dsmoe::config
