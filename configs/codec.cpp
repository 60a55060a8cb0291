#include "configs/codec.h"

#include <charconv>
#include <cmath>
#include <string_view>

#include "configs/field.h"
#include "configs/nearest.h"
#include "configs/yaml_writer.h"

namespace dsmoe::config {
namespace {

// Integers above 2^53 are not exact as doubles, so `1e18` is read only up to here.
constexpr double kLargestExact = 9007199254740992.0;

template <class T>
bool read_whole(std::string_view text, T& out) {
  if (!text.empty() && text.front() == '+') {
    text.remove_prefix(1);
  }
  const auto result = std::from_chars(text.data(), text.data() + text.size(), out);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

bool read_integer(const Node& node, int64_t& out) {
  if (!node.is_scalar() || node.quoted) {
    return false;
  }
  if (read_whole(node.text, out)) {
    return true;
  }
  double number = 0.0;
  const bool has_exponent = node.text.find_first_of("eE") != std::string::npos;
  if (!has_exponent || !read_whole(node.text, number) || std::abs(number) > kLargestExact ||
      std::trunc(number) != number) {
    return false;
  }
  out = static_cast<int64_t>(number);
  return true;
}

bool read_number(const Node& node, double& out) {
  return node.is_scalar() && !node.quoted && read_whole(node.text, out) && std::isfinite(out);
}

bool read_boolean(const Node& node, bool& out) {
  if (!node.is_scalar() || node.quoted) {
    return false;
  }
  const bool is_true = node.text == "true" || node.text == "True" || node.text == "TRUE";
  const bool is_false = node.text == "false" || node.text == "False" || node.text == "FALSE";
  out = is_true;
  return is_true || is_false;
}

std::string expected(const std::string& what, const Node& node) {
  return "must be " + what + ", not " + describe(node);
}

template <class T>
void assign(const Rule<T>& rule, const T& value, const Node& node, const std::string& key, T& out,
            ErrorList& errors) {
  if (!rule.holds(value)) {
    errors.add(node.where, key, "must be " + rule.text + ", not " + flow_text(node));
    return;
  }
  out = value;
}

}  // namespace

std::string describe(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      return "null";
    case Node::Kind::kSequence:
      return "a list";
    case Node::Kind::kMap:
      return "a map";
    case Node::Kind::kScalar:
      break;
  }
  return "`" + flow_text(node) + "`";
}

bool expect_sequence(const Node& node, const std::string& key, ErrorList& errors) {
  if (!node.is_sequence()) {
    errors.add(node.where, key, expected("a list", node));
  }
  return node.is_sequence();
}

Codec<int64_t> integer(Rule<int64_t> rule) {
  Codec<int64_t> codec;
  codec.type = "integer";
  codec.range = rule.text;
  codec.parse = [rule](const Node& node, const std::string& key, int64_t& out, ErrorList& errors) {
    int64_t value = 0;
    if (!read_integer(node, value)) {
      errors.add(node.where, key, expected("an integer", node));
      return;
    }
    assign(rule, value, node, key, out, errors);
  };
  codec.print = [](const int64_t& value) { return plain_node(std::to_string(value)); };
  return codec;
}

Codec<int64_t> integer_or(const std::string& word, int64_t value, Rule<int64_t> rule) {
  Codec<int64_t> codec = integer(rule);
  codec.range = word + " or " + rule.text;
  codec.parse = [plain = codec.parse, word, value](const Node& node, const std::string& key,
                                                   int64_t& out, ErrorList& errors) {
    if (node.is_scalar() && node.text == word) {
      out = value;
      return;
    }
    plain(node, key, out, errors);
  };
  codec.print = [plain = codec.print, word, value](const int64_t& number) {
    return number == value ? plain_node(word) : plain(number);
  };
  return codec;
}

Codec<int64_t> integer_null_is_one(Rule<int64_t> rule) {
  Codec<int64_t> codec = integer(std::move(rule));
  codec.parse = [plain = codec.parse](const Node& node, const std::string& key, int64_t& out,
                                      ErrorList& errors) {
    if (node.is_null()) {
      out = 1;
      return;
    }
    plain(node, key, out, errors);
  };
  return codec;
}

Codec<std::optional<int64_t>> optional_integer(Rule<int64_t> rule) {
  const Codec<int64_t> plain = integer(rule);
  Codec<std::optional<int64_t>> codec;
  codec.type = plain.type;
  codec.range = "null or " + rule.text;
  codec.parse = [plain](const Node& node, const std::string& key, std::optional<int64_t>& out,
                        ErrorList& errors) {
    if (node.is_null()) {
      out.reset();
      return;
    }
    int64_t value = out.value_or(0);
    plain.parse(node, key, value, errors);
    out = value;
  };
  codec.print = [plain](const std::optional<int64_t>& value) {
    return value ? plain.print(*value) : Node{};
  };
  return codec;
}

Codec<double> number(Rule<double> rule) {
  Codec<double> codec;
  codec.type = "number";
  codec.range = rule.text;
  codec.parse = [rule](const Node& node, const std::string& key, double& out, ErrorList& errors) {
    double value = 0.0;
    if (!read_number(node, value)) {
      errors.add(node.where, key, expected("a finite number", node));
      return;
    }
    assign(rule, value, node, key, out, errors);
  };
  codec.print = [](const double& value) { return plain_node(number_text(value)); };
  return codec;
}

Codec<bool> boolean() {
  Codec<bool> codec;
  codec.type = "boolean";
  codec.range = "true | false";
  codec.parse = [](const Node& node, const std::string& key, bool& out, ErrorList& errors) {
    bool value = false;
    if (!read_boolean(node, value)) {
      errors.add(node.where, key, expected("true or false", node));
      return;
    }
    out = value;
  };
  codec.print = [](const bool& value) { return plain_node(value ? "true" : "false"); };
  return codec;
}

Codec<std::string> text(Rule<std::string> rule) {
  Codec<std::string> codec;
  codec.type = "text";
  codec.range = rule.text;
  codec.parse = [rule](const Node& node, const std::string& key, std::string& out,
                       ErrorList& errors) {
    if (!node.is_scalar()) {
      errors.add(node.where, key, expected("text", node));
      return;
    }
    assign(rule, node.text, node, key, out, errors);
  };
  codec.print = [](const std::string& value) { return string_node(value); };
  return codec;
}

Codec<std::string> optional_text() {
  Codec<std::string> codec = text(not_empty());
  codec.range = "null or not empty";
  codec.parse = [plain = codec.parse](const Node& node, const std::string& key, std::string& out,
                                      ErrorList& errors) {
    if (node.is_null()) {
      out.clear();
      return;
    }
    plain(node, key, out, errors);
  };
  codec.print = [](const std::string& value) {
    return value.empty() ? Node{} : string_node(value);
  };
  return codec;
}

namespace {

template <class T>
Codec<std::vector<T>> list_codec(const Codec<T>& item, const std::string& type) {
  Codec<std::vector<T>> codec;
  codec.type = type;
  codec.range = "each " + item.range;
  codec.parse = [item](const Node& node, const std::string& key, std::vector<T>& out,
                       ErrorList& errors) {
    if (!expect_sequence(node, key, errors)) {
      return;
    }
    out.assign(node.items.size(), T{});
    for (size_t i = 0; i < node.items.size(); ++i) {
      item.parse(node.items[i], key + "[" + std::to_string(i) + "]", out[i], errors);
    }
  };
  codec.print = [item](const std::vector<T>& values) {
    Node node;
    node.kind = Node::Kind::kSequence;
    for (const T& value : values) {
      node.items.push_back(item.print(value));
    }
    return node;
  };
  return codec;
}

}  // namespace

Codec<std::vector<std::string>> text_list() {
  return list_codec(text(not_empty()), "list of texts");
}

Codec<std::vector<double>> number_list(Rule<double> rule) {
  return list_codec(number(std::move(rule)), "list of numbers");
}

Codec<std::vector<int64_t>> integer_list(Rule<int64_t> rule) {
  return list_codec(integer(std::move(rule)), "list of integers");
}

Codec<std::pair<double, double>> number_pair(Rule<double> rule) {
  const Codec<std::vector<double>> list = number_list(std::move(rule));
  Codec<std::pair<double, double>> codec;
  codec.type = "two numbers";
  codec.range = list.range;
  codec.parse = [list](const Node& node, const std::string& key, std::pair<double, double>& out,
                       ErrorList& errors) {
    if (!node.is_sequence() || node.items.size() != 2) {
      errors.add(node.where, key, expected("a list of two numbers", node));
      return;
    }
    std::vector<double> values;
    list.parse(node, key, values, errors);
    out = {values[0], values[1]};
  };
  codec.print = [list](const std::pair<double, double>& value) {
    return list.print({value.first, value.second});
  };
  return codec;
}

Codec<std::vector<std::pair<std::string, double>>> named_numbers(Rule<double> rule) {
  const Codec<double> item = number(std::move(rule));
  Codec<std::vector<std::pair<std::string, double>>> codec;
  codec.type = "map of numbers";
  codec.range = "each " + item.range;
  codec.parse = [item](const Node& node, const std::string& key,
                       std::vector<std::pair<std::string, double>>& out, ErrorList& errors) {
    if (!expect_map(node, key, errors)) {
      return;
    }
    report_duplicates(node, key, errors);
    out.clear();
    for (size_t i = 0; i < node.items.size(); ++i) {
      out.emplace_back(node.keys[i], 0.0);
      item.parse(node.items[i], dotted(key, node.keys[i]), out.back().second, errors);
    }
  };
  codec.print = [item](const std::vector<std::pair<std::string, double>>& values) {
    Node node;
    node.kind = Node::Kind::kMap;
    for (const auto& [name, value] : values) {
      node.add(name, item.print(value));
    }
    return node;
  };
  return codec;
}

}  // namespace dsmoe::config
