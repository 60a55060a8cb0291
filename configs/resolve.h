#pragma once

#include <string>
#include <vector>

#include "configs/run_config.h"

namespace dsmoe::config {

/// Where `model.preset` is looked for, after the folder of the YAML file itself.
struct SearchPath {
  std::string working = "configs";  ///< relative to the working directory
  std::string installed;            ///< share/dsmoe/configs of the installation; empty: none
};

struct Resolved {
  RunConfig config;
  std::vector<std::string> sources;  ///< which other files were read, and what for
  std::vector<std::string> notices;  ///< what the user may not expect, none an error
};

/// Reads a run: defaults < preset < config.json of init_from < YAML < `key=value`, then
/// check_config(). A file that holds model keys at its top (a preset, a config.json) is taken as a
/// model section. A tokenizer that is named nowhere is that of init_from.
/// Throws ConfigError with every error found and a last line `hint:`.
Resolved resolve(const std::string& yaml_path, const std::vector<std::string>& overrides,
                 const SearchPath& search, const RunConfig& defaults = {});

/// The same on text; `name` stands in messages, and its folder is where presets are looked for
/// first. With the text of dump() no file is read: this is what ranks other than 0 call.
Resolved resolve_text(const std::string& text, const std::string& name,
                      const std::vector<std::string>& overrides, const SearchPath& search,
                      const RunConfig& defaults = {});

}  // namespace dsmoe::config
