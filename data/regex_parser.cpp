#include "data/regex_parser.h"

#include <algorithm>
#include <utility>

#include "data/regex_scanner.h"
#include "data/utf8.h"

namespace dsmoe::data {
namespace {

CodePointSet newline() { return CodePointSet({{'\n', '\n'}}); }

/// Two letters that Oniguruma, ignoring case, also finds in one: ss in a sharp s, fi in a ligature.
bool fold_to_one(char32_t first, char32_t second) {
  const char32_t a = first | 0x20;
  const char32_t b = second | 0x20;
  return (a == 's' && (b == 's' || b == 't')) || (a == 'f' && (b == 'f' || b == 'i' || b == 'l'));
}

class Parser {
 public:
  Parser(std::string_view pattern, const std::string& place) : scan_(pattern, place) {}

  RegexParts parse() {
    bool ignore_case = scan_.skip("(?i)");
    groups_.push_back({ignore_case, /*repeatable=*/false});
    while (!scan_.at_end()) {
      element();
    }
    if (groups_.size() != 1) {
      scan_.unsupported("an open group");
    }
    return std::move(result_);
  }

  void literal(char32_t character) {
    const bool ignore_case = groups_.back().ignore_case;
    if (ignore_case && (character > 0x7F || fold_to_one(last_literal_, character))) {
      scan_.unsupported("(?i) with characters that fold to others than ASCII");
    }
    emit(character_set(character, ignore_case));
    last_literal_ = ignore_case ? character : 0;
  }

 private:
  struct Group {
    bool ignore_case;
    bool repeatable;
  };

  void emit(const CodePointSet& set) {
    auto& sets = result_.sets;
    const auto found = std::find(sets.begin(), sets.end(), set);
    result_.parts.push_back({"", static_cast<size_t>(found - sets.begin())});
    if (found == sets.end()) sets.push_back(set);
    repeatable_ = true;
    last_literal_ = 0;
  }

  void emit_syntax(std::string syntax) {
    result_.parts.push_back({std::move(syntax), RegexPart::kNoSet});
    repeatable_ = false;
    last_literal_ = 0;
  }

  void element() {
    const char32_t character = scan_.take();
    switch (character) {
      case '\\':
        return escape();
      case '[':
        return emit(scan_.bracket_class(groups_.back().ignore_case));
      case '.':
        return emit(newline().complement());
      case '(':
        return open_group();
      case ')':
        return close_group();
      case '|':
        return emit_syntax("|");
      case '^':
        return line_start();
      case '$':
        return line_end();
      case '*':
      case '+':
      case '?':
        return repeat(std::string(1, static_cast<char>(character)), /*may_possess=*/true);
      case '{':
        return brace();
      default:
        return literal(character);
    }
  }

  void escape() {
    if (scan_.skip("A")) return emit_syntax("\\A");
    if (scan_.skip("z")) return emit_syntax("\\z");
    const CodePointSet set = scan_.escape();
    const auto& ranges = set.ranges();
    if (ranges.size() == 1 && ranges[0].first == ranges[0].last) return literal(ranges[0].first);
    emit(set);
  }

  void open_group() {
    Group group{groups_.back().ignore_case, /*repeatable=*/true};
    std::string syntax = "(?:";
    if (scan_.skip("?")) {
      if (scan_.skip("i:")) {
        group.ignore_case = true;
      } else if (scan_.skip("-i:")) {
        group.ignore_case = false;
      } else if (!scan_.skip(":")) {
        syntax = special_group();
        group.repeatable = syntax == "(?>";
      }
    }
    groups_.push_back(group);
    emit_syntax(std::move(syntax));
  }

  std::string special_group() {
    for (const char* name : {"=", "!", "<=", "<!", ">"}) {
      if (scan_.skip(name)) return std::string("(?") + name;
    }
    scan_.unsupported("this kind of group");
  }

  void close_group() {
    if (groups_.size() == 1) {
      scan_.unsupported("a ) without its (");
    }
    const bool repeatable = groups_.back().repeatable;
    groups_.pop_back();
    emit_syntax(")");
    repeatable_ = repeatable;
  }

  void line_start() {
    emit_syntax("(?:\\A|(?<=");
    emit(newline());
    emit_syntax(")(?!\\z))");
  }

  void line_end() {
    emit_syntax("(?=");
    emit(newline());
    emit_syntax("|\\z)");
  }

  void brace() {
    const size_t start = scan_.position();
    int low = 0;
    int high = 0;
    const bool has_low = scan_.number(low);
    const bool comma = scan_.skip(",");
    const bool has_high = comma && scan_.number(high);
    if ((!has_low && !has_high) || !scan_.skip("}")) {
      scan_.go_to(start);
      return literal('{');
    }
    if (has_high && low > high) {
      scan_.unsupported("a repetition that counts down");
    }
    if (!comma && scan_.peek() == '?') {
      scan_.unsupported("{n}?");
    }
    repeat("{" + std::to_string(low) + (comma ? "," : "") + (has_high ? std::to_string(high) : "") +
               "}",
           /*may_possess=*/false);
  }

  /// Behind a count Oniguruma takes + for a repetition of the repetition.
  void repeat(std::string syntax, bool may_possess) {
    if (!repeatable_) {
      scan_.unsupported("a repetition of nothing, or of what has no width,");
    }
    if (scan_.skip("?")) {
      syntax += '?';
    } else if (may_possess && scan_.skip("+")) {
      syntax += '+';
    }
    const char32_t next = scan_.peek();
    if (next == '*' || next == '+' || next == '?') {
      scan_.unsupported("a repetition of a repetition");
    }
    emit_syntax(std::move(syntax));
  }

  RegexScanner scan_;
  RegexParts result_;
  std::vector<Group> groups_;
  bool repeatable_ = false;
  char32_t last_literal_ = 0;
};

}  // namespace

RegexParts parse_regex(std::string_view pattern, const std::string& place) {
  return Parser(pattern, place).parse();
}

RegexParts literal_regex(std::string_view text) {
  RegexParts result;
  for (size_t position = 0; position < text.size();) {
    result.parts.push_back({"", result.sets.size()});
    result.sets.push_back(character_set(next_code_point(text, position), /*ignore_case=*/false));
  }
  return result;
}

}  // namespace dsmoe::data
