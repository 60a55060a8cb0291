#pragma once

#include <string>
#include <vector>

#include "configs/run_config.h"

namespace dsmoe::config {

/// The resolved YAML: every key with its value; resolve_text() reads it back to the same struct.
std::string dump(const RunConfig& config);

/// One key whose value differs between two configurations, values as in the dump.
struct Difference {
  std::string key;
  std::string left;
  std::string right;
};

/// Every differing key in the order of the dump.
std::vector<Difference> differences(const RunConfig& left, const RunConfig& right);

/// The text of --help-config: every key with meaning, default, range and when to change it.
std::string help_text();

/// The same as Markdown tables; configs/README.md holds them between two markers.
std::string reference_markdown();

}  // namespace dsmoe::config
