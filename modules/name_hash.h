#pragma once

#include <cstdint>
#include <string>

namespace dsmoe::nn {

/// What is drawn for a tensor or an adapter begins here: the same on every machine and layout.
[[nodiscard]] inline uint64_t hash_name(int64_t seed, const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325ULL ^ static_cast<uint64_t>(seed);  // FNV-1a
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  return hash ^ (hash >> 29);
}

}  // namespace dsmoe::nn
