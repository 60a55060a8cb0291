#include "configs/preset.h"

#include <filesystem>
#include <vector>

#include "configs/errors.h"
#include "configs/fields.h"
#include "configs/published_keys.h"

namespace dsmoe::config {
namespace {

namespace fs = std::filesystem;

bool has_extension(const std::string& name) {
  const std::string extension = fs::path(name).extension().string();
  return extension == ".yaml" || extension == ".yml" || extension == ".json";
}

std::vector<fs::path> places(const std::string& file, const std::string& yaml_path,
                             const SearchPath& search) {
  if (fs::path(file).is_absolute()) {
    return {file};
  }
  std::vector<fs::path> found{fs::path(yaml_path).parent_path() / file};
  for (const std::string& folder : {search.working, search.installed}) {
    if (!folder.empty()) {
      found.push_back(fs::path(folder) / file);
    }
  }
  return found;
}

bool is_section(const std::string& key) {
  for (const Section& section : sections()) {
    if (section.name == key) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string find_preset(const std::string& name, const std::string& yaml_path,
                        const SearchPath& search) {
  std::string tried;
  for (const fs::path& place :
       places(has_extension(name) ? name : name + ".yaml", yaml_path, search)) {
    std::error_code ignored;
    if (fs::is_regular_file(place, ignored)) {
      return place.lexically_normal().string();
    }
    tried += "  " + place.lexically_normal().string() + "\n";
  }
  throw ConfigError("model.preset: `" + name + "` was not found; tried\n" + tried +
                    "hint: presets are files such as models/tiny.yaml under configs/");
}

bool is_model_file(const Node& root) {
  bool known = false;
  for (const std::string& key : root.keys) {
    if (is_section(key)) {
      return false;
    }
    known = known || find_published_key(key) != nullptr;
  }
  return known;
}

Node model_part(const Node& root) {
  const Node* model = root.find("model");
  return model != nullptr && root.keys.size() == 1 ? *model : root;
}

}  // namespace dsmoe::config
