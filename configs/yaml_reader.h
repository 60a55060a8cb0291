#pragma once

#include <string>

#include "configs/node.h"

namespace dsmoe::config {

/// Parses one YAML (or JSON) document; `name` stands before the line in every Node::where.
/// Throws ConfigError on a syntax error, a second document, anchors, or a key that is no scalar.
Node parse_yaml(const std::string& text, const std::string& name);

/// Parses the value of a `key=value` argument; every Node::where is `where`.
/// Throws ConfigError naming `where` and the value.
Node parse_yaml_value(const std::string& text, const std::string& where);

}  // namespace dsmoe::config
