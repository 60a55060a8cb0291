#include "configs/node.h"

#include <utility>

namespace dsmoe::config {

const Node* Node::find(const std::string& key) const {
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] == key) {
      return &items[i];
    }
  }
  return nullptr;
}

void Node::add(std::string key, Node value) {
  kind = Kind::kMap;
  keys.push_back(std::move(key));
  items.push_back(std::move(value));
}

void Node::remove(const std::string& key) {
  for (size_t i = keys.size(); i-- > 0;) {
    if (keys[i] == key) {
      keys.erase(keys.begin() + static_cast<std::ptrdiff_t>(i));
      items.erase(items.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
}

Node plain_node(std::string text) {
  Node node;
  node.kind = Node::Kind::kScalar;
  node.text = std::move(text);
  return node;
}

Node string_node(std::string text) {
  Node node = plain_node(std::move(text));
  node.quoted = true;
  return node;
}

}  // namespace dsmoe::config
