#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace dsmoe::config {

/// A YAML value with the place it came from. Duplicate keys of a map are kept, in file order, so
/// that the reader can report them.
struct Node {
  enum class Kind { kNull, kScalar, kSequence, kMap };

  Kind kind = Kind::kNull;
  std::string text;               ///< kScalar: the characters
  bool quoted = false;            ///< kScalar: written in quotes, hence a string whatever it says
  std::vector<std::string> keys;  ///< kMap: keys[i] names items[i]
  std::vector<Node> items;        ///< kSequence, kMap
  std::string where;              ///< `file:line` or `command line`

  [[nodiscard]] bool is_null() const { return kind == Kind::kNull; }
  [[nodiscard]] bool is_scalar() const { return kind == Kind::kScalar; }
  [[nodiscard]] bool is_sequence() const { return kind == Kind::kSequence; }
  [[nodiscard]] bool is_map() const { return kind == Kind::kMap; }

  /// The first entry of that name, or null.
  [[nodiscard]] const Node* find(const std::string& key) const;
  /// Adds an entry to a map; a null node becomes a map.
  void add(std::string key, Node value);
  /// Removes every entry of that name.
  void remove(const std::string& key);
};

/// An unquoted scalar: a number, a boolean or a word of a closed set.
Node plain_node(std::string text);
/// A string; empty stays a string, not null.
Node string_node(std::string text);

}  // namespace dsmoe::config
