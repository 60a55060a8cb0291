#pragma once

#include <string>
#include <vector>

#include "configs/error_list.h"
#include "configs/node.h"

namespace dsmoe::config {

/// `section.key=value` arguments as one tree of maps; values are YAML, places `command line`.
/// Arguments without `=`, with an empty key, or that repeat a key are reported.
Node parse_overrides(const std::vector<std::string>& overrides, ErrorList& errors);

}  // namespace dsmoe::config
