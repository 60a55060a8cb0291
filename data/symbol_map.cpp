#include "data/symbol_map.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "configs/errors.h"
#include "data/utf8.h"

namespace dsmoe::data {
namespace {

/// Where any set begins or ends: between two neighbours all characters are alike.
std::vector<char32_t> boundaries(const std::vector<CodePointSet>& sets) {
  std::set<char32_t> found{0, kLastCodePoint + 1};
  for (const CodePointSet& set : sets) {
    for (const auto& range : set.ranges()) {
      found.insert(range.first);
      found.insert(range.last + 1);
    }
  }
  return {found.begin(), found.end()};
}

std::vector<bool> membership(const std::vector<CodePointSet>& sets, char32_t code_point) {
  std::vector<bool> members(sets.size());
  for (size_t i = 0; i < sets.size(); ++i) {
    members[i] = sets[i].contains(code_point);
  }
  return members;
}

/// A class of PCRE2; one without characters never matches.
std::string symbol_class(const std::array<bool, 256>& symbols) {
  std::string text;
  for (size_t symbol = 0; symbol < symbols.size(); ++symbol) {
    if (symbols[symbol]) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\x%02x", static_cast<unsigned>(symbol));
      text += escape;
    }
  }
  return text.empty() ? "(?!)" : "[" + text + "]";
}

}  // namespace

SymbolMap::SymbolMap(const std::vector<CodePointSet>& sets, const std::string& place) {
  std::map<std::vector<bool>, size_t> numbers;
  std::vector<uint8_t> symbol_of(kLastCodePoint + 1);
  const std::vector<char32_t> ends = boundaries(sets);
  for (size_t i = 0; i + 1 < ends.size(); ++i) {
    const auto [entry, is_new] = numbers.emplace(membership(sets, ends[i]), numbers.size());
    if (is_new) examples_.push_back(ends[i]);
    std::fill(symbol_of.begin() + ends[i], symbol_of.begin() + ends[i + 1],
              static_cast<uint8_t>(entry->second));
  }
  if (numbers.size() > 256) {
    throw DataError(place + ": the patterns tell " + std::to_string(numbers.size()) +
                    " kinds of characters apart, more than 256\nhint: use fewer different classes "
                    "and literals");
  }
  std::map<std::array<uint8_t, 256>, uint16_t> known;
  for (size_t start = 0; start < symbol_of.size(); start += 256) {
    std::array<uint8_t, 256> block;
    std::copy_n(symbol_of.begin() + static_cast<std::ptrdiff_t>(start), 256, block.begin());
    const auto [entry, is_new] = known.emplace(block, static_cast<uint16_t>(table_.size()));
    if (is_new) table_.push_back(block);
    blocks_.push_back(entry->second);
  }
}

uint8_t SymbolMap::symbol(char32_t code_point) const {
  return table_[blocks_[code_point >> 8]][code_point & 0xFF];
}

std::array<bool, 256> SymbolMap::symbols(const CodePointSet& set) const {
  std::array<bool, 256> found{};
  for (size_t symbol = 0; symbol < examples_.size(); ++symbol) {
    found[symbol] = set.contains(examples_[symbol]);
  }
  return found;
}

std::string SymbolMap::over_symbols(const RegexParts& regex) const {
  std::vector<std::string> classes;
  for (const CodePointSet& set : regex.sets) {
    classes.push_back(symbol_class(symbols(set)));
  }
  std::string pattern;
  for (const RegexPart& part : regex.parts) {
    pattern += part.set == RegexPart::kNoSet ? part.syntax : classes[part.set];
  }
  return pattern;
}

void SymbolMap::map(std::string_view text, std::string& symbols,
                    std::vector<uint32_t>& starts) const {
  symbols.resize(text.size());
  starts.clear();
  const auto& ascii = table_[blocks_[0]];
  size_t i = 0;
  for (; i < text.size() && static_cast<uint8_t>(text[i]) < 0x80; ++i) {
    symbols[i] = static_cast<char>(ascii[static_cast<uint8_t>(text[i])]);
  }
  if (i == text.size()) {
    return;
  }
  starts.reserve(text.size() + 1);
  for (uint32_t start = 0; start < i; ++start) {
    starts.push_back(start);
  }
  for (size_t position = i; position < text.size(); ++i) {
    starts.push_back(static_cast<uint32_t>(position));
    symbols[i] = static_cast<char>(symbol(next_code_point(text, position)));
  }
  symbols.resize(i);
  starts.push_back(static_cast<uint32_t>(text.size()));
}

}  // namespace dsmoe::data
