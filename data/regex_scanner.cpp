#include "data/regex_scanner.h"

#include <utility>

#include "configs/errors.h"
#include "data/utf8.h"

namespace dsmoe::data {
namespace {

bool is_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_ascii_punctuation(char32_t c) {
  return c > ' ' && c < 0x7F && !is_letter(c) && !is_digit(c);
}

CodePointSet single(char32_t character) { return CodePointSet({{character, character}}); }

/// The control character behind a backslash; 0 if the letter names none.
char32_t control_character(char32_t letter) {
  switch (letter) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case 'a':
      return '\a';
    case 'e':
      return 0x1B;
    default:
      return 0;
  }
}

}  // namespace

CodePointSet character_set(char32_t character, bool ignore_case) {
  if (!ignore_case || !is_letter(character)) {
    return single(character);
  }
  const char32_t lower = character | 0x20;
  CodePointSet set({{lower, lower}, {lower - 0x20, lower - 0x20}});
  if (lower == 's') set.add(single(0x17F));   // long s
  if (lower == 'k') set.add(single(0x212A));  // the sign for kelvin
  return set;
}

RegexScanner::RegexScanner(std::string_view pattern, std::string place)
    : pattern_(pattern), place_(std::move(place)) {}

char32_t RegexScanner::peek() const {
  size_t position = position_;
  return at_end() ? 0 : next_code_point(pattern_, position);
}

char32_t RegexScanner::take() {
  if (at_end()) {
    unsupported("an end in the middle of an expression");
  }
  return next_code_point(pattern_, position_);
}

bool RegexScanner::skip(std::string_view text) {
  if (!pattern_.substr(position_).starts_with(text)) {
    return false;
  }
  position_ += text.size();
  return true;
}

bool RegexScanner::number(int& value) {
  constexpr int kLimit = 65536;  // PCRE2's
  const size_t start = position_;
  value = 0;
  while (is_digit(peek()) && value < kLimit) {
    value = value * 10 + static_cast<int>(take() - '0');
  }
  if (position_ == start || value >= kLimit) {
    position_ = start;
    return false;
  }
  return true;
}

void RegexScanner::unsupported(const std::string& what) const {
  throw DataError(place_ + ": " + what + " at byte " + std::to_string(position_) + " of " +
                  std::to_string(pattern_.size()) + " of the pattern `" + std::string(pattern_) +
                  "` is not supported\nhint: supported are literals, classes, \\p{general "
                  "category}, groups, look-around and repetition, as in the patterns of GPT-2, "
                  "Llama 3 and DeepSeek");
}

char32_t RegexScanner::hexadecimal() {
  const bool braces = skip("{");
  const size_t start = position_;
  char32_t value = 0;
  while (position_ - start < (braces ? 6U : 2U) && peek() < 0x80 &&
         std::string_view("0123456789abcdefABCDEF").find(static_cast<char>(peek())) !=
             std::string_view::npos) {
    const char32_t digit = take();
    value = value * 16 + (is_digit(digit) ? digit - '0' : (digit | 0x20) - 'a' + 10);
  }
  const bool is_byte = !braces && (value >= 0x80 || position_ - start != 2);
  if (is_byte || position_ == start || value > kLastCodePoint || (braces && !skip("}"))) {
    unsupported("this \\x");
  }
  return value;
}

CodePointSet RegexScanner::property(bool negated) {
  if (!skip("{")) {
    unsupported("\\p without braces");
  }
  if (skip("^")) {
    negated = !negated;
  }
  const size_t start = position_;
  while (take() != '}') {
  }
  const std::string_view name = pattern_.substr(start, position_ - start - 1);
  const CodePointSet set = general_category(name);
  if (set.ranges().empty()) {
    unsupported("the property \\p{" + std::string(name) + "}, which is no general category,");
  }
  return negated ? set.complement() : set;
}

CodePointSet RegexScanner::escape() {
  const char32_t letter = take();
  if (const char32_t control = control_character(letter); control != 0) {
    return single(control);
  }
  switch (letter) {
    case 's':
      return white_space();
    case 'S':
      return white_space().complement();
    case 'd':
      return general_category("Nd");
    case 'D':
      return general_category("Nd").complement();
    case 'w':
      return oniguruma_word();
    case 'W':
      return oniguruma_word().complement();
    case 'p':
      return property(/*negated=*/false);
    case 'P':
      return property(/*negated=*/true);
    case 'x':
      return single(hexadecimal());
    default:
      break;
  }
  if (letter == ' ' || is_ascii_punctuation(letter)) {
    return single(letter);
  }
  std::string name;
  append_utf8(name, letter);
  unsupported("\\" + name);
}

CodePointSet RegexScanner::class_item(bool& is_character) {
  const char32_t character = take();
  if (character == '[' || (character == '&' && peek() == '&')) {
    unsupported("a class within a class");
  }
  CodePointSet set = character == '\\' ? escape() : single(character);
  is_character = set.ranges().size() == 1 && set.ranges()[0].first == set.ranges()[0].last;
  return set;
}

CodePointSet RegexScanner::bracket_class(bool ignore_case) {
  const bool negated = skip("^");
  CodePointSet set;
  if (peek() == ']') {
    unsupported("a class that begins with ]");
  }
  while (!skip("]")) {
    bool first_is_character = false;
    CodePointSet item = class_item(first_is_character);
    const size_t behind_item = position_;
    if (skip("-") && peek() != ']') {
      bool last_is_character = false;
      const CodePointSet last = class_item(last_is_character);
      const char32_t low = item.ranges()[0].first;
      const char32_t high = last.ranges()[0].first;
      if (!first_is_character || !last_is_character || low > high) {
        unsupported("this range");
      }
      item = CodePointSet({{low, high}});
    } else {
      position_ = behind_item;
    }
    set.add(item);
  }
  if (ignore_case) {
    CodePointSet folded;
    for (const auto& range : set.ranges()) {
      if (range.last > 0x7F || negated) unsupported("(?i) with a class beyond ASCII");
      for (char32_t c = range.first; c <= range.last; ++c) folded.add(character_set(c, true));
    }
    set = std::move(folded);
  }
  return negated ? set.complement() : set;
}

}  // namespace dsmoe::data
