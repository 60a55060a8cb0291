#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "configs/error_list.h"
#include "configs/node.h"

namespace dsmoe::config {

/// The values a key allows, in words for people and as a test.
template <class T>
struct Rule {
  std::string text;
  std::function<bool(const T&)> holds;
};

/// Upper bound of every size and count, so that the product of two never overflows.
inline constexpr int64_t kLargestCount = int64_t{1} << 31;

Rule<int64_t> at_least(int64_t low);
Rule<int64_t> between(int64_t low, int64_t high);
/// low to kLargestCount.
Rule<int64_t> count_from(int64_t low);
Rule<double> number_at_least(double low);
Rule<double> number_above(double low);
Rule<double> number_between(double low, double high);
/// low < value < high.
Rule<double> number_inside(double low, double high);
Rule<std::string> not_empty();
Rule<std::string> one_of(std::vector<std::string> words);
/// Letters, digits, `_` and `-`: fit for a metric's name or a folder.
Rule<std::string> simple_name();

/// What is known about one key; the whole reference is printed from these.
struct Doc {
  std::string meaning = "";
  std::string symbol = "";  ///< in the V2 paper
  std::string unit = "";
  std::string why = "";  ///< when and why one would change it
};

struct RowInfo {
  std::string name;
  std::string type;
  std::string range;
  std::string default_text;
  Doc doc;
  std::vector<RowInfo> nested;  ///< the keys below, of a map or a list of maps
};

/// How a value of type T is read from and written to a configuration. `parse` reports to the list
/// and leaves the value alone where the node does not fit.
template <class T>
struct Codec {
  std::string type;
  std::string range;
  std::function<void(const Node&, const std::string& key, T&, ErrorList&)> parse;
  std::function<Node(const T&)> print;
  std::vector<RowInfo> nested = {};
};

/// `8`, also `1e9`; a number in quotes is a string.
Codec<int64_t> integer(Rule<int64_t> rule);
/// As integer; `word` stands for `value` on both ways, as `auto` for 0.
Codec<int64_t> integer_or(const std::string& word, int64_t value, Rule<int64_t> rule);
/// As integer, and `null` is read as 1: released configurations without groups say so.
Codec<int64_t> integer_null_is_one(Rule<int64_t> rule);
Codec<std::optional<int64_t>> optional_integer(Rule<int64_t> rule);
Codec<double> number(Rule<double> rule);
Codec<bool> boolean();
Codec<std::string> text(Rule<std::string> rule);
/// `null` is the empty string.
Codec<std::string> optional_text();
Codec<std::vector<std::string>> text_list();
Codec<std::vector<double>> number_list(Rule<double> rule);
Codec<std::vector<int64_t>> integer_list(Rule<int64_t> rule);
Codec<std::pair<double, double>> number_pair(Rule<double> rule);
/// Numbers under names, in the order of the file.
Codec<std::vector<std::pair<std::string, double>>> named_numbers(Rule<double> rule);

/// What a node is, for messages: `a list`, `"abc"`, `null`.
std::string describe(const Node& node);

/// Reports where the node is no list.
bool expect_sequence(const Node& node, const std::string& key, ErrorList& errors);

/// Words of a closed set: the first that fits a value is the one that is written.
template <class T>
using Words = std::vector<std::pair<std::string, T>>;

std::string joined_words(const std::vector<std::string>& words);

template <class T>
Codec<T> choice(Words<T> words) {
  std::vector<std::string> names;
  for (const auto& [name, value] : words) {
    names.push_back(name);
  }
  const Codec<std::string> word = text(one_of(names));
  Codec<T> codec;
  codec.type = "word";
  codec.range = word.range;
  codec.parse = [word, words](const Node& node, const std::string& key, T& out, ErrorList& errors) {
    std::string found;
    word.parse(node, key, found, errors);
    for (const auto& [name, value] : words) {
      if (name == found) {
        out = value;
      }
    }
  };
  codec.print = [words](const T& value) {
    for (const auto& [name, candidate] : words) {
      if (candidate == value) {
        return plain_node(name);
      }
    }
    return Node{};
  };
  return codec;
}

}  // namespace dsmoe::config
