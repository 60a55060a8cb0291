#include "configs/yaml_writer.h"

#include <array>
#include <cctype>
#include <charconv>
#include <set>

namespace dsmoe::config {
namespace {

// Words that some YAML reader takes for null or a boolean.
const std::set<std::string> kReserved{"null", "true", "false", "yes", "no", "on", "off", "y", "n"};

std::string lower(std::string text) {
  for (char& c : text) {
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return text;
}

bool is_plain_safe(const std::string& text) {
  static const std::string kMarks = "_/.-";
  const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  if (text.empty() || (std::isalpha(static_cast<unsigned char>(text[0])) == 0 && text[0] != '/')) {
    return false;
  }
  for (const char c : text) {
    if (!is_word(c) && kMarks.find(c) == std::string::npos) {
      return false;
    }
  }
  return kReserved.count(lower(text)) == 0;
}

std::string quoted(const std::string& text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7f) {
      out += {'\\', 'x', kHex[byte >> 4U], kHex[byte & 15U]};
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string scalar_text(const Node& node) {
  return node.quoted && !is_plain_safe(node.text) ? quoted(node.text) : node.text;
}

std::string joined(const Node& node) {
  std::string out;
  for (size_t i = 0; i < node.items.size(); ++i) {
    out += i == 0 ? "" : ", ";
    out += node.is_map() ? node.keys[i] + ": " : "";
    out += flow_text(node.items[i]);
  }
  return out;
}

}  // namespace

std::string flow_text(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kScalar:
      return scalar_text(node);
    case Node::Kind::kSequence:
      return "[" + joined(node) + "]";
    case Node::Kind::kMap:
      return "{" + joined(node) + "}";
    case Node::Kind::kNull:
      break;
  }
  return "null";
}

std::string block_text(const Node& root) {
  std::string out;
  for (size_t i = 0; i < root.items.size(); ++i) {
    const Node& section = root.items[i];
    if (section.is_scalar()) {
      out += root.keys[i] + ": " + flow_text(section) + "\n";
      continue;
    }
    out += root.keys[i] + ":\n";
    for (size_t j = 0; j < section.items.size(); ++j) {
      out += "  " + section.keys[j] + ": " + flow_text(section.items[j]) + "\n";
    }
  }
  return out;
}

std::string number_text(double value) {
  std::array<char, 32> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  std::string text(buffer.data(), result.ptr);
  const size_t exponent = text.find('e');
  if (text.find('.') == std::string::npos) {
    text.insert(exponent == std::string::npos ? text.size() : exponent, ".0");
  }
  return text;
}

}  // namespace dsmoe::config
