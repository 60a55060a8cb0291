#pragma once

#include <string>

namespace dsmoe::config {

/// The whole file. Throws ConfigError where it cannot be read or is a folder.
std::string read_text_file(const std::string& path);

}  // namespace dsmoe::config
