#include "trainer/peft_adapter.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "trainer/atomic_file.h"

namespace dsmoe::train {
namespace {

using Json = nlohmann::json;

const std::string kPrefix = "base_model.model.";
const std::string kExperts = ".mlp.experts.";

/// Values of keys that leave the function as it is described here; any other is refused.
const std::vector<std::pair<const char*, std::vector<Json>>>& plain_values() {
  static const std::vector<std::pair<const char*, std::vector<Json>>> all{
      {"peft_type", {"LORA"}},
      {"bias", {"none"}},
      {"lora_bias", {false}},
      {"use_dora", {false}},
      {"use_qalora", {false}},
      {"fan_in_fan_out", {false}},
      {"rank_pattern", {Json::object()}},
      {"alpha_pattern", {Json::object()}},
      {"modules_to_save", {Json::array()}},
      {"layer_replication", {}},
      {"trainable_token_indices", {}},
      {"init_lora_weights", {true, false, "gaussian"}}};
  return all;
}

[[noreturn]] void refuse(const std::string& path, const std::string& problem) {
  throw CheckpointError(path + ": " + problem +
                        "\nhint: dsmoe reads plain LoRA adapters of peft, of one rank");
}

/// `model.layers.1.mlp.experts.3.up_proj` in its parts.
struct ExpertName {
  std::string experts;  ///< model.layers.1.mlp.experts
  int64_t expert = 0;
  std::string matrix;  ///< up_proj

  static std::optional<ExpertName> parse(const std::string& module) {
    const size_t at = module.find(kExperts);
    if (at == std::string::npos) return std::nullopt;
    const size_t digits = at + kExperts.size();
    const size_t dot = module.find('.', digits);
    if (dot == std::string::npos) return std::nullopt;
    return ExpertName{module.substr(0, digits - 1), std::atoll(module.c_str() + digits),
                      module.substr(dot + 1)};
  }
};

std::string without_end(const std::string& text, const std::string& end) {
  return text.ends_with(end) ? text.substr(0, text.size() - end.size()) : text;
}

}  // namespace

std::optional<std::string> find_adapter(const std::string& directory) {
  for (const std::string& place : {directory, directory + "/adapter"}) {
    std::error_code ignored;
    if (std::filesystem::exists(place + "/" + kAdapterConfig, ignored)) return place;
  }
  return std::nullopt;
}

PeftAdapter PeftAdapter::open(const std::string& directory) {
  PeftAdapter adapter(SafetensorsFile::open(directory + "/" + kAdapterFile));
  adapter.directory_ = directory;
  adapter.read_config();
  return adapter;
}

void PeftAdapter::read_config() {
  const std::string path = directory_ + "/" + kAdapterConfig;
  const Json config = Json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) refuse(path, "is no JSON object");
  for (const auto& [key, allowed] : plain_values()) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) continue;
    if (std::find(allowed.begin(), allowed.end(), *found) == allowed.end()) {
      refuse(path, std::string(key) + " (" + found->dump() + ") is not supported");
    }
  }
  const auto number = [&](const char* key, double fallback) {
    const auto found = config.find(key);
    return found != config.end() && found->is_number() ? found->get<double>() : fallback;
  };
  rank_ = static_cast<int64_t>(number("r", 8));
  const double width = static_cast<double>(rank_);
  scale_ = number("lora_alpha", 8) / (config.value("use_rslora", false) ? std::sqrt(width) : width);
  if (config.contains("base_model_name_or_path") && config["base_model_name_or_path"].is_string()) {
    base_ = config["base_model_name_or_path"];
  }
  if (config.contains("target_parameters") && config["target_parameters"].is_array()) {
    target_parameters_ = config["target_parameters"].get<std::vector<std::string>>();
  }
}

std::string PeftAdapter::base_fingerprint() const {
  const auto found = file_.metadata().find(kBaseFingerprint);
  return found == file_.metadata().end() ? "" : found->second;
}

at::Tensor PeftAdapter::find(const std::string& name) const {
  return file_.contains(name) ? file_.read(name).to(at::kDouble) : at::Tensor();
}

/// Of the two stacks of a layer the one that peft wrapped first stands under base_layer; of one
/// alone the configuration tells which it is.
std::string PeftAdapter::experts_prefix(const std::string& experts,
                                        const std::string& stack) const {
  const std::string outer = kPrefix + experts, inner = outer + ".base_layer";
  if (file_.contains(inner + ".lora_A.weight")) return stack == "down_proj" ? outer : inner;
  const std::string wanted = experts + "." + stack;
  const bool named = std::any_of(target_parameters_.begin(), target_parameters_.end(),
                                 [&](const std::string& target) {
                                   return wanted == target || wanted.ends_with("." + target);
                                 });
  return named ? outer : "";
}

at::Tensor PeftAdapter::expert_matrix(const std::string& experts, int64_t expert,
                                      const std::string& stack, bool is_a) const {
  const std::string prefix = experts_prefix(experts, stack);
  if (prefix.empty()) return {};
  const at::Tensor all = find(prefix + (is_a ? ".lora_A.weight" : ".lora_B.weight"));
  if (!all.defined()) return {};
  if (is_a) return all.narrow(0, expert * rank_, rank_);
  return all.view({all.size(0), rank_, -1}).select(2, expert).contiguous();
}

at::Tensor PeftAdapter::matrix(const std::string& stored_name) const {
  const bool is_a = stored_name.ends_with(".lora_A.weight");
  const std::string module = without_end(
      without_end(stored_name.substr(kPrefix.size()), ".lora_A.weight"), ".lora_B.weight");
  if (const auto name = ExpertName::parse(module)) {
    return expert_matrix(name->experts, name->expert, name->matrix, is_a);
  }
  return find(stored_name);
}

at::Tensor PeftAdapter::delta(const std::string& published_name) const {
  const std::string module = without_end(published_name, ".weight");
  at::Tensor a, b;
  const auto name = ExpertName::parse(module);
  if (name) {
    const std::string stack = name->matrix == "down_proj" ? "down_proj" : "gate_up_proj";
    a = expert_matrix(name->experts, name->expert, stack, /*is_a=*/true);
    b = expert_matrix(name->experts, name->expert, stack, /*is_a=*/false);
  } else {
    a = find(kPrefix + module + ".lora_A.weight");
    b = find(kPrefix + module + ".lora_B.weight");
  }
  if (!a.defined() || !b.defined()) return {};
  const at::Tensor whole = at::mm(b, a) * scale_;
  if (!name || name->matrix == "down_proj") return whole;
  return whole.chunk(2, 0)[name->matrix == "gate_proj" ? 0 : 1].contiguous();
}

std::vector<std::string> PeftAdapter::modules() const {
  std::vector<std::string> modules;
  for (const std::string& name : file_.names()) {
    if (!name.ends_with(".lora_A.weight")) continue;
    modules.push_back(without_end(name.substr(kPrefix.size()), ".lora_A.weight"));
  }
  return modules;
}

}  // namespace dsmoe::train
