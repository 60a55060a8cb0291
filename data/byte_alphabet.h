#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dsmoe::data {

/// GPT-2's byte alphabet, in which vocabularies of bytes are written: printable Latin-1 (33-126,
/// 161-172, 174-255) stands for itself, the other 68 bytes, in order, for the code points from 256.
class ByteAlphabet {
 public:
  ByteAlphabet();

  /// The character of `byte`, in UTF-8.
  [[nodiscard]] std::string character(uint8_t byte) const;
  /// The bytes that `token`, valid UTF-8, stands for; none if it holds a character that no byte
  /// has.
  [[nodiscard]] std::optional<std::string> bytes(std::string_view token) const;

 private:
  std::array<char32_t, 256> characters_{};
  std::array<int16_t, 324> bytes_{};  ///< by code point; -1: none
};

}  // namespace dsmoe::data
