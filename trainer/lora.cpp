#include "trainer/lora.h"

#include <algorithm>
#include <map>
#include <utility>

#include "configs/errors.h"
#include "modules/weight_class.h"
#include "trainer/trained_weights.h"

namespace dsmoe::train {
namespace {

/// The two matrices beside one [out, in].
void add_pair(std::vector<nn::PublishedTensor>& out, const std::string& module,
              const std::vector<int64_t>& shape, int64_t rank) {
  const std::string prefix = "base_model.model." + module;
  out.push_back({prefix + ".lora_A.weight", {rank, shape[1]}});
  out.push_back({prefix + ".lora_B.weight", {shape[0], rank}});
}

bool replace_end(std::string& text, const std::string& end, const std::string& by) {
  if (!text.ends_with(end)) return false;
  text.replace(text.size() - end.size(), end.size(), by);
  return true;
}

void check_takes_adapter(const nn::PublishedTensor& tensor) {
  switch (nn::class_of(tensor.name)) {
    case nn::WeightClass::kAttention:
    case nn::WeightClass::kDense:
    case nn::WeightClass::kSharedExperts:
    case nn::WeightClass::kRoutedExperts:
    case nn::WeightClass::kHead:
      return;
    default:
      throw ConfigError(
          "finetune.lora.target names " + tensor.name +
          ", which takes no adapter\nhint: attention, dense, shared_experts, "
          "routed_experts and head do; the router is no linear layer in transformers, "
          "which peft could wrap");
  }
}

/// What a published matrix is stored in: gate_proj and up_proj share one, as do a layer's experts.
std::string shared_matrix(const std::string& name) {
  std::string shared = name;
  const size_t experts = shared.find(".mlp.experts.");
  if (experts != std::string::npos) {
    const size_t digits = experts + std::string(".mlp.experts.").size();
    shared.replace(digits, shared.find('.', digits) - digits, "*");
  }
  for (const char* half : {".gate_proj.", ".up_proj."}) {
    const size_t at = shared.find(half);
    if (at != std::string::npos) shared.replace(at, std::string(half).size(), ".gate_up_proj.");
  }
  return shared;
}

void check_whole(const std::string& matrix, int64_t named, int64_t all) {
  if (named == 0 || named == all) return;
  throw ConfigError("finetune.lora.target names " + std::to_string(named) + " of the " +
                    std::to_string(all) + " matrices of " + matrix +
                    "\nhint: they take adapters together; name all of them or none");
}

/// peft has no dropout beside what it knows as parameters: such an adapter could not be loaded.
void check_dropout(const config::RunConfig& config, const nn::PublishedTensor& tensor) {
  if (config.finetune.lora.dropout == 0 || is_peft_module(tensor.name)) return;
  throw ConfigError("finetune.lora.dropout (" + std::to_string(config.finetune.lora.dropout) +
                    ") must be 0 where finetune.lora.target names feed-forward matrices, as peft "
                    "has no dropout there: " +
                    tensor.name +
                    "\nhint: finetune.lora.dropout=0, or finetune.lora.target=[attention, head]");
}

}  // namespace

bool is_peft_module(const std::string& published_name) {
  const auto weight_class = nn::class_of(published_name);
  return weight_class == nn::WeightClass::kAttention || weight_class == nn::WeightClass::kHead;
}

nn::AdapterPlan adapter_plan(const config::RunConfig& config) {
  if (!uses_lora(config)) return {};
  const config::LoraConfig lora = config.finetune.lora;
  return {lora.rank, lora.alpha / static_cast<double>(lora.rank), lora.dropout,
          [targets = lora.target](const std::string& name) {
            return std::any_of(targets.begin(), targets.end(), [&](const std::string& pattern) {
              return nn::matches(pattern, name);
            });
          }};
}

std::vector<nn::PublishedTensor> adapter_tensors(const config::RunConfig& config) {
  const nn::AdapterPlan plan = adapter_plan(config);
  std::vector<nn::PublishedTensor> out;
  if (plan.rank == 0) return out;
  for (const nn::PublishedTensor& tensor : nn::published_tensors(config.model)) {
    if (tensor.shape.size() != 2 || !plan.adapts(tensor.name)) continue;
    std::string module = tensor.name;
    replace_end(module, ".weight", "");
    std::vector<int64_t> shape = tensor.shape;
    if (nn::is_routed_expert(tensor.name)) {  // gate and up are one matrix
      if (module.ends_with(".up_proj")) continue;
      if (replace_end(module, ".gate_proj", ".gate_up_proj")) shape[0] *= 2;
    }
    add_pair(out, module, shape, plan.rank);
  }
  return out;
}

void check_adapters(const config::RunConfig& config) {
  if (!uses_lora(config)) return;
  const auto tensors = nn::published_tensors(config.model);
  for (const std::string& pattern : config.finetune.lora.target) {
    require_match("finetune.lora.target", pattern, tensors);
  }
  const nn::AdapterPlan plan = adapter_plan(config);
  std::map<std::string, std::pair<int64_t, int64_t>> together;  // named, and all
  for (const nn::PublishedTensor& tensor : tensors) {
    const bool named = plan.adapts(tensor.name);
    if (named) check_takes_adapter(tensor);
    if (named) check_dropout(config, tensor);
    auto& [count, all] = together[shared_matrix(tensor.name)];
    count += named ? 1 : 0;
    ++all;
  }
  for (const auto& [matrix, counts] : together) check_whole(matrix, counts.first, counts.second);
}

}  // namespace dsmoe::train
