#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace dsmoe::data {

/// The tokens of short words seen lately: 32,768 places, one for all words of a hash; the newest
/// stays. About 2.5 MB, and no allocation after the first word.
class WordCache {
 public:
  static constexpr size_t kMaxBytes = 31;
  static constexpr size_t kMaxTokens = 8;

  /// The tokens of `word`, of at most kMaxBytes; empty if they are not known.
  [[nodiscard]] std::span<const uint32_t> find(std::string_view word, uint64_t hash) const {
    if (entries_.empty()) return {};
    const Entry& entry = entries_[hash % kPlaces];
    const bool same = entry.num_bytes == word.size() &&
                      std::memcmp(entry.bytes.data(), word.data(), word.size()) == 0;
    return {entry.tokens.data(), same ? entry.num_tokens : size_t{0}};
  }

  /// Keeps the tokens of `word` if both are short enough.
  void keep(std::string_view word, uint64_t hash, std::span<const uint32_t> tokens) {
    if (tokens.size() > kMaxTokens) return;
    if (entries_.empty()) entries_.resize(kPlaces);
    Entry& entry = entries_[hash % kPlaces];
    entry.num_bytes = static_cast<uint8_t>(word.size());
    entry.num_tokens = static_cast<uint8_t>(tokens.size());
    std::memcpy(entry.bytes.data(), word.data(), word.size());
    std::memcpy(entry.tokens.data(), tokens.data(), tokens.size_bytes());
  }

  [[nodiscard]] static uint64_t hash(std::string_view word) {
    constexpr uint64_t kFactor = 0x9E3779B97F4A7C15U;
    uint64_t state = word.size() * kFactor;
    size_t i = 0;
    for (; i + 8 <= word.size(); i += 8) {
      uint64_t bytes = 0;
      std::memcpy(&bytes, word.data() + i, 8);
      state = mix(state ^ bytes, kFactor);
    }
    uint64_t rest = 0;
    std::memcpy(&rest, word.data() + i, word.size() - i);
    return mix(state ^ rest, kFactor);
  }

 private:
  static constexpr size_t kPlaces = size_t{1} << 15;
  struct Entry {
    uint8_t num_bytes = 0;
    uint8_t num_tokens = 0;
    std::array<char, kMaxBytes> bytes;
    std::array<uint32_t, kMaxTokens> tokens;
  };

  static uint64_t mix(uint64_t value, uint64_t factor) {
    value *= factor;
    return value ^ (value >> 29);
  }

  std::vector<Entry> entries_;
};

}  // namespace dsmoe::data
