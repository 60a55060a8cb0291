#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/code_point_set.h"
#include "data/regex_parser.h"

namespace dsmoe::data {

/// Characters that some regular expressions cannot tell apart are one symbol, a byte. Matching
/// symbols instead of characters makes a match independent of the matcher's idea of Unicode, and
/// quick: its classes are bitmaps.
///
///     sets {a..z}, {space}:   "ab é x" -> 1 1 2 0 2 1
class SymbolMap {
 public:
  /// Throws DataError, naming `place`, when the sets tell more than 256 kinds of characters apart.
  SymbolMap(const std::vector<CodePointSet>& sets, const std::string& place);

  [[nodiscard]] uint8_t symbol(char32_t code_point) const;
  /// The symbols of the characters in `set`, which is a union of sets given to the constructor.
  [[nodiscard]] std::array<bool, 256> symbols(const CodePointSet& set) const;
  /// The expression over symbols, for PCRE2 without UTF.
  [[nodiscard]] std::string over_symbols(const RegexParts& regex) const;

  /// The symbols of `text`, valid UTF-8, one for each character, and unless all are ASCII the byte
  /// at which each character starts, and the text's length; `starts` is left empty if they are.
  void map(std::string_view text, std::string& symbols, std::vector<uint32_t>& starts) const;

 private:
  std::vector<uint16_t> blocks_;                 ///< by code point / 256
  std::vector<std::array<uint8_t, 256>> table_;  ///< different blocks only
  std::vector<char32_t> examples_;               ///< by symbol, one of its characters
};

}  // namespace dsmoe::data
