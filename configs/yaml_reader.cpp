#include "configs/yaml_reader.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "configs/errors.h"

namespace dsmoe::config {
namespace {

const std::set<std::string> kNullWords{"", "~", "null", "Null", "NULL"};

/// Builds the tree from parser events: the node graph of yaml-cpp loses duplicate keys' places.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::string name) : name_(std::move(name)) {}

  [[nodiscard]] Node take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { place({}, mark); }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw YAML::ParserException(mark, "anchors and aliases (& and *) are not supported");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    const bool quoted = tag == "!";
    if (!quoted && kNullWords.count(value) != 0) {
      place({}, mark);
      return;
    }
    place(quoted ? string_node(value) : plain_node(value), mark);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    open(Node::Kind::kSequence, mark);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    open(Node::Kind::kMap, mark);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Node node;
    bool has_key = false;
    std::string key_where;
  };

  [[nodiscard]] std::string where(const YAML::Mark& mark) const {
    return name_ + ":" + std::to_string(mark.line + 1);
  }

  void open(Node::Kind kind, const YAML::Mark& mark) {
    if (!stack_.empty() && stack_.back().node.is_map() && !stack_.back().has_key) {
      throw YAML::ParserException(mark, "a key must be a word, not a list or a map");
    }
    Open level;
    level.node.kind = kind;
    level.node.where = where(mark);
    stack_.push_back(std::move(level));
  }

  void close() {
    Node done = std::move(stack_.back().node);
    stack_.pop_back();
    attach(std::move(done));
  }

  void place(Node value, const YAML::Mark& mark) {
    value.where = where(mark);
    if (!stack_.empty() && stack_.back().node.is_map() && !stack_.back().has_key) {
      stack_.back().node.keys.push_back(value.text);
      stack_.back().key_where = value.where;
      stack_.back().has_key = true;
      return;
    }
    attach(std::move(value));
  }

  void attach(Node value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return;
    }
    Open& top = stack_.back();
    if (top.node.is_map()) {
      value.where = top.key_where;
      top.has_key = false;
    }
    top.node.items.push_back(std::move(value));
  }

  std::string name_;
  Node root_;
  std::vector<Open> stack_;
};

void relocate(Node& node, const std::string& where) {
  node.where = where;
  for (Node& item : node.items) {
    relocate(item, where);
  }
}

Node parse_document(const std::string& text, const std::string& name) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  TreeBuilder builder(name);
  if (!parser.HandleNextDocument(builder)) {
    return {};
  }
  Node root = builder.take();
  TreeBuilder second(name);
  if (parser.HandleNextDocument(second)) {
    throw ConfigError(name + ": holds more than one YAML document\nhint: remove the line `---`");
  }
  return root;
}

}  // namespace

Node parse_yaml(const std::string& text, const std::string& name) {
  try {
    return parse_document(text, name);
  } catch (const YAML::Exception& error) {
    throw ConfigError(name + ":" + std::to_string(error.mark.line + 1) + ": not valid YAML: " +
                      error.msg + "\nhint: look at the indentation, brackets and quotes there");
  }
}

Node parse_yaml_value(const std::string& text, const std::string& where) {
  try {
    Node node = parse_document(text, where);
    relocate(node, where);
    return node;
  } catch (const YAML::Exception& error) {
    throw ConfigError(where + ": `" + text + "` is not a valid YAML value: " + error.msg +
                      "\nhint: a list is [a, b], a map {key: value}; quote it for the shell");
  }
}

}  // namespace dsmoe::config
