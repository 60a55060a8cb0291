#pragma once

#include <string_view>
#include <vector>

namespace dsmoe::data {

/// The largest code point.
inline constexpr char32_t kLastCodePoint = 0x10FFFF;

/// A set of code points, as ranges in ascending order that neither overlap nor touch.
class CodePointSet {
 public:
  struct Range {
    char32_t first;
    char32_t last;  ///< belongs to the range
    bool operator==(const Range&) const = default;
  };

  CodePointSet() = default;
  /// The ranges may come in any order, and overlap.
  explicit CodePointSet(std::vector<Range> ranges);

  [[nodiscard]] const std::vector<Range>& ranges() const { return ranges_; }
  [[nodiscard]] bool contains(char32_t code_point) const;
  [[nodiscard]] CodePointSet complement() const;
  void add(const CodePointSet& other);
  bool operator==(const CodePointSet&) const = default;

 private:
  std::vector<Range> ranges_;
};

/// Unicode's White_Space: `\s` in Oniguruma and in Rust.
[[nodiscard]] CodePointSet white_space();
/// A general category of Unicode 16 by its short name, as Oniguruma has it: `L`, `Lu`, `N`; empty
/// for a name that is none.
[[nodiscard]] CodePointSet general_category(std::string_view name);
/// `\w` of Oniguruma 6.9.
[[nodiscard]] CodePointSet oniguruma_word();
/// `\w` of Rust's regex crate, which decides what a single word is.
[[nodiscard]] CodePointSet rust_word();
/// Rust's char::is_numeric: N of Unicode 17.
[[nodiscard]] CodePointSet rust_numeric();

}  // namespace dsmoe::data
