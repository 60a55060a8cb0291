#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "data/token_file_writer.h"
#include "tests/data/files.h"

namespace dsmoe::test {

/// The bytes of a file.
inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The bytes that `hex` spells.
inline std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

/// `bytes` with `value` written over what stands at `offset`.
template <typename T>
std::string patched(std::string bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
  return bytes;
}

/// Writes the documents as PREFIX.bin and PREFIX.idx; returns the prefix.
inline std::string write_pair(const std::string& prefix,
                              const std::vector<std::vector<int64_t>>& documents,
                              const data::TokenFileOptions& options = {}) {
  data::TokenFileWriter writer(prefix, options);
  for (const auto& document : documents) {
    writer.append(document);
    writer.end_document();
  }
  writer.finish();
  return prefix;
}

}  // namespace dsmoe::test
