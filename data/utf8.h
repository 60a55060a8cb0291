#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace dsmoe::data {

/// What stands at the start of some bytes.
struct Utf8Step {
  enum class Kind {
    kCharacter,  ///< `length` bytes are one character
    kInvalid,    ///< `length` bytes belong to no character whatever follows; one U+FFFD stands for
                 ///< them
    kTruncated,  ///< all `length` bytes that there are begin a character; one U+FFFD if none follow
  };
  Kind kind;
  size_t length;
};

/// U+FFFD in UTF-8.
inline constexpr std::string_view kReplacement = "\xef\xbf\xbd";

/// Judges the start of `bytes`, which must not be empty, by the Unicode Standard's table 3-7.
[[nodiscard]] Utf8Step utf8_step(std::string_view bytes);

/// The length of the valid UTF-8 that `bytes` begin with.
[[nodiscard]] size_t valid_utf8_prefix(std::string_view bytes);

/// The bytes with U+FFFD for each maximal part that is not UTF-8: Python's
/// bytes.decode("utf-8", "replace"), Rust's String::from_utf8_lossy.
[[nodiscard]] std::string to_utf8(std::string_view bytes);

/// The character at `position` of valid UTF-8; moves `position` behind it.
[[nodiscard]] char32_t next_code_point(std::string_view text, size_t& position);

/// Appends one character, which is no surrogate.
void append_utf8(std::string& text, char32_t code_point);

}  // namespace dsmoe::data
