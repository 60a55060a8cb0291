#include "configs/resolve.h"

#include <filesystem>
#include <set>
#include <utility>

#include "configs/error_list.h"
#include "configs/errors.h"
#include "configs/fields.h"
#include "configs/init_from.h"
#include "configs/overrides.h"
#include "configs/preset.h"
#include "configs/published_keys.h"
#include "configs/read_model.h"
#include "configs/text_file.h"
#include "configs/validate.h"
#include "configs/yaml_reader.h"

namespace dsmoe::config {
namespace {

const Section* find_section(const std::string& name) {
  for (const Section& section : sections()) {
    if (section.name == name) {
      return &section;
    }
  }
  return nullptr;
}

std::vector<std::string> section_names() {
  std::vector<std::string> names;
  for (const Section& section : sections()) {
    names.push_back(section.name);
  }
  return names;
}

void read_section(const Node& node, const std::string& name, Resolved& out, ErrorList& errors) {
  const Section* section = find_section(name);
  if (section == nullptr) {
    report_unknown(node, name, "", section_names(), errors);
  } else if (name == "model") {
    read_model(node, name, out.config.model, errors, out.notices);
  } else {
    read_map(section->rows, node, name, out.config, errors);
  }
}

void read_root(const Node& root, const std::string& name, Resolved& out, ErrorList& errors) {
  if (!expect_map(root, name, errors)) {
    return;
  }
  report_duplicates(root, "", errors);
  for (size_t i = 0; i < root.items.size(); ++i) {
    read_section(root.items[i], root.keys[i], out, errors);
  }
}

/// What a file or the command line says for a key of the model; null: nothing.
const Node* model_value(const Node& root, const std::string& key) {
  const Node* model = root.find("model");
  return model == nullptr ? nullptr : model->find(key);
}

/// The text of `model.key`, the command line first; it is checked where it is read as a key.
std::string model_text(const Node& root, const Node& arguments, const std::string& key) {
  for (const Node* place : {&arguments, &root}) {
    if (const Node* value = model_value(*place, key)) return value->text;
  }
  return "";
}

void apply_preset(const std::string& name, const std::string& yaml_path, const SearchPath& search,
                  Resolved& out, ErrorList& errors) {
  if (name.empty()) {
    return;
  }
  const std::string path = find_preset(name, yaml_path, search);
  const Node model = model_part(parse_yaml(read_text_file(path), path));
  for (const char* key : {"preset", "init_from"}) {
    if (const Node* value = model.find(key); value != nullptr && !value->is_null()) {
      errors.add(value->where, key, "must not stand in a preset");
    }
  }
  read_model(model, "", out.config.model, errors, out.notices);
  out.sources.push_back("model.preset: " + name + " was read from " + path);
}

/// What the directory of `model.init_from` says of the architecture stands under what YAML and
/// command line say.
void apply_init_from(const std::string& directory, const Node* model, Resolved& out) {
  if (directory.empty() || is_complete_model(model)) return;
  const std::string found = find_model_directory(directory);
  out.sources.push_back("model.init_from: the architecture was read from " + found +
                        "/config.json");
  out.config.model = read_model_directory(found, out.notices);
}

void name_sources(std::vector<DataSource>& sources, const std::string& list, ErrorList& errors) {
  for (size_t i = 0; i < sources.size(); ++i) {
    const std::string key = list + "[" + std::to_string(i) + "]";
    if (sources[i].path.empty()) {
      errors.add("", key + ".path", "is missing");
      continue;
    }
    if (!sources[i].name.empty()) {
      continue;
    }
    const std::string file = std::filesystem::path(sources[i].path).filename().string();
    sources[i].name = file.substr(0, file.find('.'));
    if (!simple_name().holds(sources[i].name)) {
      errors.add("", key + ".name",
                 "is missing, and `" + file + "` gives none of " + simple_name().text);
    }
  }
}

/// A tokenizer that is named nowhere is the one beside the weights to begin from.
void complete_tokenizer(Resolved& out, ErrorList& errors) {
  std::string& tokenizer = out.config.data.tokenizer;
  if (!tokenizer.empty()) return;
  const std::string& directory = out.config.model.init_from;
  if (directory.empty()) {
    errors.add("", "data.tokenizer", "is missing, and so is the model.init_from that brings one");
    return;
  }
  try {
    tokenizer = find_model_directory(directory);
  } catch (const ConfigError& error) {
    errors.add(error);
  }
}

}  // namespace

Resolved resolve(const std::string& yaml_path, const std::vector<std::string>& overrides,
                 const SearchPath& search, const RunConfig& defaults) {
  return resolve_text(read_text_file(yaml_path), yaml_path, overrides, search, defaults);
}

Resolved resolve_text(const std::string& text, const std::string& name,
                      const std::vector<std::string>& overrides, const SearchPath& search,
                      const RunConfig& defaults) {
  Resolved out;
  out.config = defaults;
  ErrorList errors;
  Node root = parse_yaml(text, name);
  if (is_model_file(root)) {
    Node wrapped;
    wrapped.add("model", std::move(root));
    root = std::move(wrapped);
  }
  const Node arguments = parse_overrides(overrides, errors);
  try {
    apply_preset(model_text(root, arguments, "preset"), name, search, out, errors);
    apply_init_from(model_text(root, arguments, "init_from"), root.find("model"), out);
  } catch (const ConfigError& error) {
    errors.add(error);
  }
  read_root(root, name, out, errors);
  read_root(arguments, "command line", out, errors);
  out.config.model.preset.clear();
  complete_tokenizer(out, errors);
  name_sources(out.config.data.train, "data.train", errors);
  name_sources(out.config.data.eval, "data.eval", errors);
  errors.throw_if_any();
  check_config(out.config);
  for (std::string& notice : without_effect(out.config)) {
    out.notices.push_back(std::move(notice));
  }
  return out;
}

}  // namespace dsmoe::config
