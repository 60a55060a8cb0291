#include "trainer/adapter_directory.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "configs/errors.h"
#include "modules/published_tensors.h"
#include "modules/weight_class.h"
#include "trainer/atomic_file.h"
#include "trainer/lora.h"
#include "trainer/safetensors_writer.h"
#include "trainer/shared_state.h"

namespace dsmoe::train {
namespace {

using Json = nlohmann::ordered_json;

const std::string kPrefix = "base_model.model.";

std::string part_path(const std::string& directory, int64_t shard) {
  return directory + "/" + adapter_part_file(shard);
}

/// Adapter matrices by their names in a store, from the parts of all ranks.
std::map<std::string, at::Tensor> read_parts(const std::string& directory, int64_t ranks) {
  std::map<std::string, at::Tensor> tensors;
  for (int64_t r = 0; r < ranks; ++r) {
    const auto file = SafetensorsFile::open(part_path(directory, r));
    for (const std::string& name : file.names()) tensors[name] = file.read(name);
  }
  return tensors;
}

/// The experts' matrices of one kind and layer as peft stacks them.
at::Tensor stacked(const std::map<std::string, at::Tensor>& all, const std::string& experts,
                   const std::string& end, int64_t num_experts) {
  std::vector<at::Tensor> each;
  for (int64_t e = 0; e < num_experts; ++e) {
    each.push_back(all.at(experts + "." + std::to_string(e) + "." + end));
  }
  const at::Tensor together = at::stack(each);
  if (end.ends_with("lora_A.weight")) return together.flatten(0, 1);
  return together.permute({1, 2, 0}).flatten(1).contiguous();
}

/// What the experts of one layer have: which stacks, and peft's tensors for them.
void add_experts(std::vector<NamedTensor>& out, std::vector<std::string>& parameters,
                 const std::map<std::string, at::Tensor>& all, const std::string& experts,
                 int64_t num_experts) {
  const auto has = [&](const std::string& stack) {
    return all.contains(kPrefix + experts + ".0." + stack + ".lora_A.weight");
  };
  const bool both = has("gate_up_proj") && has("down_proj");
  for (const std::string stack : {"gate_up_proj", "down_proj"}) {
    if (!has(stack)) continue;
    parameters.push_back(experts + "." + stack);
    const bool inner = both && stack == "gate_up_proj";
    for (const std::string matrix : {"lora_A.weight", "lora_B.weight"}) {
      out.push_back({kPrefix + experts + (inner ? ".base_layer." : ".") + matrix,
                     stacked(all, kPrefix + experts, stack + "." + matrix, num_experts)});
    }
  }
}

/// peft's tensors, and what its configuration calls their places.
struct PeftForm {
  std::vector<NamedTensor> tensors;
  std::vector<std::string> modules;     ///< target_modules: attention and head
  std::vector<std::string> parameters;  ///< target_parameters: what lies in a feed-forward network
};

PeftForm peft_form(const std::map<std::string, at::Tensor>& all, const config::ModelConfig& model) {
  PeftForm form;
  const std::string end = ".lora_A.weight";
  for (const auto& [name, tensor] : all) {
    if (nn::is_routed_expert(name)) continue;
    form.tensors.push_back({name, tensor});
    if (!name.ends_with(end)) continue;
    const std::string module =
        name.substr(kPrefix.size(), name.size() - kPrefix.size() - end.size());
    // peft takes a gate_proj, up_proj or down_proj among the modules for the routed experts'.
    if (is_peft_module(name)) {
      form.modules.push_back(module);
    } else {
      form.parameters.push_back(module + ".weight");
    }
  }
  for (int64_t layer = 0; layer < model.num_hidden_layers; ++layer) {
    if (!model.is_moe_layer(layer)) continue;
    add_experts(form.tensors, form.parameters, all,
                "model.layers." + std::to_string(layer) + ".mlp.experts", model.n_routed_experts);
  }
  return form;
}

std::string config_json(const config::LoraConfig& lora, const PeftForm& form,
                        const std::string& base) {
  const Json json = {{"peft_type", "LORA"},
                     {"task_type", "CAUSAL_LM"},
                     {"base_model_name_or_path", base},
                     {"r", lora.rank},
                     {"lora_alpha", lora.alpha},
                     {"lora_dropout", lora.dropout},
                     {"bias", "none"},
                     {"inference_mode", true},
                     {"target_modules", form.modules},
                     {"target_parameters", form.parameters}};
  return json.dump(2) + "\n";
}

void check_form(const PeftAdapter& adapter, const config::LoraConfig& lora) {
  const double scale = lora.alpha / static_cast<double>(lora.rank);
  if (adapter.rank() == lora.rank && adapter.scale() == scale) return;
  throw CheckpointError(adapter.directory() + ": rank " + std::to_string(adapter.rank()) +
                        " and alpha / rank " + std::to_string(adapter.scale()) +
                        ", finetune.lora has " + std::to_string(lora.rank) + " and " +
                        std::to_string(scale) + "\nhint: set finetune.lora as the adapter has it");
}

/// What peft would call the modules that the run adapts.
std::set<std::string> modules_of(const config::RunConfig& config) {
  std::set<std::string> modules, stacks;
  for (const nn::PublishedTensor& tensor : adapter_tensors(config)) {
    const std::string module =
        tensor.name.substr(kPrefix.size(), tensor.name.find(".lora_") - kPrefix.size());
    const size_t experts = module.find(".experts.");
    if (experts == std::string::npos) {
      modules.insert(module);
    } else {
      stacks.insert(module.substr(0, experts) + ".experts" + module.substr(module.rfind('.')));
    }
  }
  for (const std::string& stack : stacks) {
    const std::string layer = stack.substr(0, stack.rfind('.'));
    const bool both =
        stacks.contains(layer + ".gate_up_proj") && stacks.contains(layer + ".down_proj");
    modules.insert(both && stack.ends_with("gate_up_proj") ? layer + ".base_layer" : layer);
  }
  return modules;
}

/// What the run would not train must not be left out silently.
void check_targets(const PeftAdapter& adapter, const config::RunConfig& config) {
  const std::set<std::string> wanted = modules_of(config);
  for (const std::string& module : adapter.modules()) {
    if (wanted.contains(module)) continue;
    throw CheckpointError(adapter.directory() + ": adapts " + module +
                          ", which finetune.lora.target does not name\nhint: finetune.lora.target "
                          "must name what the adapter has, no less");
  }
}

}  // namespace

std::string adapter_part_file(int64_t shard) {
  return "part-" + std::to_string(shard) + ".safetensors";
}

std::vector<NamedTensor> adapter_part(nn::ParameterStore& store, const parallel::Topology& topology,
                                      parallel::ProcessGroups& groups) {
  const nn::FlatPair masters = whole_masters(store, groups);
  std::vector<NamedTensor> part;
  for (const nn::StoredTensor& t : store.tensors()) {
    const bool dense = t.group == nn::ParameterGroup::kDense;
    if (!nn::is_adapter(t.name) || (dense && topology.expert_rank() > 0)) continue;
    part.push_back({t.name, masters.dense.defined() && t.trains() ? masters.state_view(t)
                                                                  : store.weights().view(t)});
  }
  return part;
}

void join_adapter_parts(const std::string& directory, const config::RunConfig& config,
                        const AdapterBase& base, int64_t parts) {
  const PeftForm form = peft_form(read_parts(directory, parts), config.model);
  write_safetensors(directory + "/" + kAdapterFile, form.tensors,
                    {{"format", "pt"}, {kBaseFingerprint, base.fingerprint}});
  write_file_atomically(directory + "/" + kAdapterConfig,
                        config_json(config.finetune.lora, form, base.path));
  for (int64_t r = 0; r < parts; ++r) std::filesystem::remove(part_path(directory, r));
}

void check_base(const PeftAdapter& adapter, const AdapterBase& base) {
  const std::string wanted = adapter.base_fingerprint();
  if (wanted.empty() || wanted == base.fingerprint) return;
  throw CheckpointError(adapter.directory() + ": made for other weights: their fingerprint is " +
                        wanted + ", that of " + base.path + " is " + base.fingerprint +
                        "\nhint: give the model that it was trained on" +
                        (adapter.base().empty() ? "" : ", once at " + adapter.base()));
}

void load_adapter_directory(const std::string& directory, const config::RunConfig& config,
                            const AdapterBase& base, nn::ParameterStore& store) {
  const at::NoGradGuard no_grad;
  const PeftAdapter adapter = PeftAdapter::open(directory);
  check_base(adapter, base);
  check_form(adapter, config.finetune.lora);
  check_targets(adapter, config);
  for (const nn::StoredTensor& t : store.tensors()) {
    if (!nn::is_adapter(t.name)) continue;
    const at::Tensor values = adapter.matrix(t.name);
    if (!values.defined() || values.sizes() != at::IntArrayRef(t.shape)) {
      throw CheckpointError(directory + "/" + kAdapterFile + ": has no " + t.name +
                            " of the run's shape\nhint: finetune.lora.target must name what the "
                            "adapter has, no more");
    }
    store.set(t, values);
  }
}

void merge_adapter(const PeftAdapter& adapter, nn::ParameterStore& store) {
  const at::NoGradGuard no_grad;
  for (const nn::StoredTensor& t : store.tensors()) {
    const at::Tensor delta = adapter.delta(t.name);
    if (!delta.defined()) continue;
    at::Tensor weight = store.weights().view(t);
    if (delta.sizes() != weight.sizes()) {
      throw CheckpointError(adapter.directory() + ": its matrices for " + t.name +
                            " are of another shape\nhint: give the model that it was trained on");
    }
    weight.copy_(weight.to(at::kDouble) + delta);
  }
}

}  // namespace dsmoe::train
