#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "configs/codec.h"
#include "configs/error_list.h"
#include "configs/node.h"
#include "configs/yaml_writer.h"

namespace dsmoe::config {

/// One key of an Owner struct: the reader, the dump, --help-config and configs/README.md are all
/// made from this row.
template <class Owner>
struct Row {
  RowInfo info;
  std::function<void(const Node&, const std::string& key, Owner&, ErrorList&)> read;
  std::function<Node(const Owner&)> write;
};

template <class Owner>
using Rows = std::vector<Row<Owner>>;

/// The row of a member; its default is what a default-constructed Owner holds.
template <class Owner, class T>
Row<Owner> row(const std::string& name, T Owner::* member, const Codec<T>& codec, Doc doc) {
  Row<Owner> made;
  made.info = {name,           codec.type,  codec.range, flow_text(codec.print(Owner{}.*member)),
               std::move(doc), codec.nested};
  made.read = [member, parse = codec.parse](const Node& node, const std::string& key, Owner& owner,
                                            ErrorList& errors) {
    parse(node, key, owner.*member, errors);
  };
  made.write = [member, print = codec.print](const Owner& owner) { return print(owner.*member); };
  return made;
}

template <class Owner>
std::vector<RowInfo> infos(const Rows<Owner>& rows) {
  std::vector<RowInfo> out;
  for (const Row<Owner>& one : rows) {
    out.push_back(one.info);
  }
  return out;
}

template <class Owner>
std::vector<std::string> names(const Rows<Owner>& rows) {
  std::vector<std::string> out;
  for (const Row<Owner>& one : rows) {
    out.push_back(one.info.name);
  }
  return out;
}

/// Reports where the node is neither a map nor null; null reads as an empty map.
bool expect_map(const Node& node, const std::string& key, ErrorList& errors);

/// Reports each key that stands twice in a map, with both places.
void report_duplicates(const Node& map, const std::string& prefix, ErrorList& errors);

/// Reports an unknown key with the nearest of `known`, or else the place where a key of that name
/// does exist.
void report_unknown(const Node& value, const std::string& key, const std::string& prefix,
                    const std::vector<std::string>& known, ErrorList& errors);

/// `prefix.key`, or `key` where the prefix is empty.
std::string dotted(const std::string& prefix, const std::string& key);

/// Reads a map into `owner`, key by key; keys that are absent leave their member alone.
template <class Owner>
void read_map(const Rows<Owner>& rows, const Node& map, const std::string& prefix, Owner& owner,
              ErrorList& errors) {
  if (!expect_map(map, prefix, errors)) {
    return;
  }
  report_duplicates(map, prefix, errors);
  for (size_t i = 0; i < map.items.size(); ++i) {
    const Row<Owner>* found = nullptr;
    for (const Row<Owner>& one : rows) {
      found = one.info.name == map.keys[i] ? &one : found;
    }
    if (found == nullptr) {
      report_unknown(map.items[i], map.keys[i], prefix, names(rows), errors);
      continue;
    }
    found->read(map.items[i], dotted(prefix, map.keys[i]), owner, errors);
  }
}

template <class Owner>
Node write_map(const Rows<Owner>& rows, const Owner& owner) {
  Node node;
  for (const Row<Owner>& one : rows) {
    node.add(one.info.name, one.write(owner));
  }
  return node;
}

/// A map whose keys change the value that stands.
template <class Owner>
Codec<Owner> map_of(const Rows<Owner>& rows) {
  Codec<Owner> codec;
  codec.type = "map";
  codec.range = "keys below";
  codec.nested = infos(rows);
  codec.parse = [rows](const Node& node, const std::string& key, Owner& out, ErrorList& errors) {
    read_map(rows, node, key, out, errors);
  };
  codec.print = [rows](const Owner& value) { return write_map(rows, value); };
  return codec;
}

/// `null`, or a map whose keys change the value that stands (a default Owner where none does).
template <class Owner>
Codec<std::optional<Owner>> optional_map(const Rows<Owner>& rows) {
  Codec<std::optional<Owner>> codec;
  codec.type = "map";
  codec.range = "null or a map";
  codec.nested = infos(rows);
  codec.parse = [rows](const Node& node, const std::string& key, std::optional<Owner>& out,
                       ErrorList& errors) {
    if (node.is_null()) {
      out.reset();
      return;
    }
    Owner value = out.value_or(Owner{});
    read_map(rows, node, key, value, errors);
    out = value;
  };
  codec.print = [rows](const std::optional<Owner>& value) {
    return value ? write_map(rows, *value) : Node{};
  };
  return codec;
}

/// A list of maps; it replaces the list that stood before.
template <class Owner>
Codec<std::vector<Owner>> list_of_maps(const Rows<Owner>& rows) {
  Codec<std::vector<Owner>> codec;
  codec.type = "list of maps";
  codec.range = "keys below";
  codec.nested = infos(rows);
  codec.parse = [rows](const Node& node, const std::string& key, std::vector<Owner>& out,
                       ErrorList& errors) {
    if (!expect_sequence(node, key, errors)) {
      return;
    }
    out.assign(node.items.size(), Owner{});
    for (size_t i = 0; i < node.items.size(); ++i) {
      read_map(rows, node.items[i], key + "[" + std::to_string(i) + "]", out[i], errors);
    }
  };
  codec.print = [rows](const std::vector<Owner>& values) {
    Node node;
    node.kind = Node::Kind::kSequence;
    for (const Owner& value : values) {
      node.items.push_back(write_map(rows, value));
    }
    return node;
  };
  return codec;
}

}  // namespace dsmoe::config
