#pragma once

#include <fstream>
#include <string>
#include <string_view>

namespace dsmoe::test {

/// Writes `content` to `path` and returns the path.
inline std::string write_file(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

/// The message that `call` throws as Error; empty if it throws nothing.
template <typename Error, typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace dsmoe::test
