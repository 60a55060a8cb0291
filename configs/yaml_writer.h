#pragma once

#include <string>

#include "configs/node.h"

namespace dsmoe::config {

/// One line: `[a, b]`, `{key: value}`, scalars as parse_yaml reads them back.
std::string flow_text(const Node& node);

/// A map of maps and scalars as a block document: sections at column 0, their keys indented by two,
/// everything below in flow style.
std::string block_text(const Node& root);

/// The shortest decimal that reads back to the same double, always with a point (`1.0e-08`), since
/// YAML 1.1 readers take `1e-08` for a string.
std::string number_text(double value);

}  // namespace dsmoe::config
