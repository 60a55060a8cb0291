#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "data/code_point_set.h"

namespace dsmoe::data {

/// Walks over the characters of a pattern, and reads what stands for a set of characters: an
/// escape, or a class in brackets.
class RegexScanner {
 public:
  RegexScanner(std::string_view pattern, std::string place);

  [[nodiscard]] bool at_end() const { return position_ == pattern_.size(); }
  /// The next character; 0 at the end.
  [[nodiscard]] char32_t peek() const;
  char32_t take();
  /// Goes behind `text` if it stands here.
  bool skip(std::string_view text);
  /// Reads decimal digits; false, and nothing is read, if there are none or too many.
  bool number(int& value);

  [[nodiscard]] size_t position() const { return position_; }
  void go_to(size_t position) { position_ = position; }

  /// What the escape behind a backslash that was just taken matches.
  [[nodiscard]] CodePointSet escape();
  /// The class behind a `[` that was just taken, up to and with its `]`.
  [[nodiscard]] CodePointSet bracket_class(bool ignore_case);

  /// Throws DataError: `what` at this place of the pattern is not supported.
  [[noreturn]] void unsupported(const std::string& what) const;

 private:
  CodePointSet property(bool negated);
  CodePointSet class_item(bool& is_character);
  char32_t hexadecimal();

  std::string_view pattern_;
  std::string place_;
  size_t position_ = 0;
};

/// One character; with `ignore_case` also what Unicode folds to the same, for ASCII.
[[nodiscard]] CodePointSet character_set(char32_t character, bool ignore_case);

}  // namespace dsmoe::data
