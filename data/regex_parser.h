#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "data/code_point_set.h"

namespace dsmoe::data {

/// A piece of a regular expression: a set of characters of which one is wanted, or syntax that
/// means the same in PCRE2 as in Oniguruma.
struct RegexPart {
  static constexpr size_t kNoSet = static_cast<size_t>(-1);
  std::string syntax;   ///< if `set` is kNoSet
  size_t set = kNoSet;  ///< index into RegexParts::sets
};

/// A regular expression with each literal, class and property resolved to the characters it means.
struct RegexParts {
  std::vector<RegexPart> parts;
  std::vector<CodePointSet> sets;
};

/// Reads `pattern` as Oniguruma 6.9 does in its Ruby syntax, the one that Hugging Face uses: `^`
/// and
/// `$` are ends of lines, `\s`, `\d`, `\w` and `\p{}` are Unicode's.
/// Known: literals, `.`, classes without nesting, `\p{general category}`, alternatives, groups,
/// `(?i:)` over ASCII, look-around, `(?>)`, greedy, lazy and possessive repetition, `\A`, `\z`.
/// Throws DataError, naming `place` and the construct, on anything else.
[[nodiscard]] RegexParts parse_regex(std::string_view pattern, const std::string& place);

/// The same for text that stands for itself.
[[nodiscard]] RegexParts literal_regex(std::string_view text);

}  // namespace dsmoe::data
