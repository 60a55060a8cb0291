#include "data/code_point_set.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace dsmoe::data {
namespace {

/// Runs of equal category from code point 0 on: two letters, then the run's length.
constexpr std::string_view kCategoryRuns =
#include "data/unicode_categories.inc"
    ;

bool is_digit(char character) { return character >= '0' && character <= '9'; }

/// Other_Alphabetic that is neither letter, mark nor number: circled and squared Latin letters.
std::vector<CodePointSet::Range> letter_symbols() {
  return {{0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
}

CodePointSet common_word() {
  CodePointSet word(letter_symbols());
  for (const char* category : {"L", "M", "Nd", "Nl", "Pc"}) {
    word.add(general_category(category));
  }
  return word;
}

}  // namespace

CodePointSet::CodePointSet(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.first < b.first; });
  for (const Range& range : ranges) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

bool CodePointSet::contains(char32_t code_point) const {
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), code_point,
                       [](char32_t value, const Range& range) { return value < range.first; });
  return after != ranges_.begin() && code_point <= std::prev(after)->last;
}

CodePointSet CodePointSet::complement() const {
  std::vector<Range> gaps;
  char32_t next = 0;
  for (const Range& range : ranges_) {
    if (range.first > next) gaps.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) gaps.push_back({next, kLastCodePoint});
  return CodePointSet(std::move(gaps));
}

void CodePointSet::add(const CodePointSet& other) {
  std::vector<Range> all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  *this = CodePointSet(std::move(all));
}

CodePointSet white_space() {
  return CodePointSet({{0x09, 0x0D},
                       {0x20, 0x20},
                       {0x85, 0x85},
                       {0xA0, 0xA0},
                       {0x1680, 0x1680},
                       {0x2000, 0x200A},
                       {0x2028, 0x2029},
                       {0x202F, 0x202F},
                       {0x205F, 0x205F},
                       {0x3000, 0x3000}});
}

CodePointSet general_category(std::string_view name) {
  std::vector<CodePointSet::Range> ranges;
  if (name.empty() || name.size() > 2) {
    return {};
  }
  char32_t first = 0;
  for (size_t i = 0; i < kCategoryRuns.size();) {
    const std::string_view category = kCategoryRuns.substr(i, 2);
    char32_t length = 0;
    for (i += 2; i < kCategoryRuns.size() && is_digit(kCategoryRuns[i]); ++i) {
      length = length * 10 + static_cast<char32_t>(kCategoryRuns[i] - '0');
    }
    if (category.starts_with(name)) ranges.push_back({first, first + length - 1});
    first += length;
  }
  return CodePointSet(std::move(ranges));
}

CodePointSet oniguruma_word() {
  CodePointSet word = common_word();
  word.add(CodePointSet({{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}}));
  return word;
}

CodePointSet rust_word() {
  CodePointSet word = common_word();
  word.add(CodePointSet({{0x200C, 0x200D}}));
  return word;
}

CodePointSet rust_numeric() {
  CodePointSet numeric = general_category("N");
  numeric.add(CodePointSet({{0x11DE0, 0x11DE9}, {0x16FF4, 0x16FF6}}));
  return numeric;
}

}  // namespace dsmoe::data
