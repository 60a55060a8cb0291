#include "configs/overrides.h"

#include <utility>

#include "configs/errors.h"
#include "configs/yaml_reader.h"

namespace dsmoe::config {
namespace {

const char* const kWhere = "command line";

Node* child(Node& map, const std::string& key) {
  for (size_t i = 0; i < map.keys.size(); ++i) {
    if (map.keys[i] == key) {
      return &map.items[i];
    }
  }
  return nullptr;
}

/// Inserts a value at a dotted path; false where something stands in its way.
bool insert(Node& tree, const std::string& path, Node value) {
  const size_t dot = path.find('.');
  const std::string head = path.substr(0, dot);
  Node* next = child(tree, head);
  if (dot == std::string::npos) {
    if (next == nullptr) {
      tree.add(head, std::move(value));
    }
    return next == nullptr;
  }
  if (next == nullptr) {
    Node empty;
    empty.kind = Node::Kind::kMap;
    empty.where = kWhere;
    tree.add(head, std::move(empty));
    next = &tree.items.back();
  }
  return next->is_map() && insert(*next, path.substr(dot + 1), std::move(value));
}

bool is_path(const std::string& key) {
  return !key.empty() && key.front() != '.' && key.back() != '.' &&
         key.find("..") == std::string::npos;
}

}  // namespace

Node parse_overrides(const std::vector<std::string>& overrides, ErrorList& errors) {
  Node tree;
  for (const std::string& argument : overrides) {
    const size_t equals = argument.find('=');
    const std::string key = argument.substr(0, equals);
    if (equals == std::string::npos || !is_path(key)) {
      errors.add(kWhere, "`" + argument + "`", "must be section.key=value");
      continue;
    }
    try {
      Node value = parse_yaml_value(argument.substr(equals + 1), kWhere);
      if (!insert(tree, key, std::move(value))) {
        errors.add(kWhere, key, "is given more than once");
      }
    } catch (const ConfigError& error) {
      const std::string message = error.what();
      const std::string first = message.substr(0, message.find('\n'));
      errors.add(kWhere, key, first.substr(std::string(kWhere).size() + 2));
    }
  }
  return tree;
}

}  // namespace dsmoe::config
