#include "configs/init_from.h"

#include <filesystem>

#include "configs/errors.h"
#include "configs/fields.h"
#include "configs/hf_config.h"
#include "configs/text_file.h"

namespace dsmoe::config {
namespace {

/// No other program writes this key.
bool is_own(const std::string& text) { return text.find("\"group_score\"") != std::string::npos; }

}  // namespace

std::string find_model_directory(const std::string& directory) {
  for (const std::string& place : {directory, directory + "/model"}) {
    std::error_code ignored;
    if (std::filesystem::exists(place + "/config.json", ignored)) return place;
  }
  throw ConfigError(directory + ": no model here: neither config.json nor model/config.json" +
                    "\nhint: give a Hugging Face directory or a step-NNNNNNNN directory");
}

ModelConfig read_model_directory(const std::string& model_directory,
                                 std::vector<std::string>& notices) {
  const std::string path = model_directory + "/config.json";
  const std::string text = read_text_file(path);
  std::vector<std::string> unused;
  const ModelConfig model = from_hf_config_json(text, path, unused);
  if (!is_own(text)) notices.insert(notices.end(), unused.begin(), unused.end());
  return model;
}

bool is_complete_model(const Node* model) {
  if (model == nullptr || !model->is_map()) return false;
  for (const Row<ModelConfig>& one : model_rows()) {
    if (model->find(one.info.name) == nullptr) return false;
  }
  return true;
}

}  // namespace dsmoe::config
