#include "configs/text_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "configs/errors.h"

namespace dsmoe::config {

std::string read_text_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    throw ConfigError(path + ": is a folder\nhint: give the YAML file itself");
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw ConfigError(path + ": cannot be read: " + std::strerror(errno) +
                      "\nhint: paths are relative to the working directory, " +
                      std::filesystem::current_path(ignored).string());
  }
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace dsmoe::config
