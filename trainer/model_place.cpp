#include "trainer/model_place.h"

#include <set>

#include "configs/errors.h"
#include "configs/init_from.h"
#include "modules/published_tensors.h"
#include "trainer/adapter_directory.h"
#include "trainer/base_fingerprint.h"

namespace dsmoe::train {
namespace {

/// Modules of the model as peft names what it adapts: matrices, and the experts of a layer.
std::set<std::string> modules_of(const config::ModelConfig& model) {
  std::set<std::string> modules;
  for (const nn::PublishedTensor& tensor : nn::published_tensors(model)) {
    modules.insert(tensor.name.substr(0, tensor.name.rfind(".weight")));
    const size_t experts = tensor.name.find(".experts.");
    if (experts == std::string::npos) continue;
    modules.insert(tensor.name.substr(0, experts) + ".experts");
    modules.insert(tensor.name.substr(0, experts) + ".experts.base_layer");
  }
  return modules;
}

/// An adapted matrix that is not there would be left out silently.
void check_modules(const PeftAdapter& adapter, const config::ModelConfig& model) {
  const std::set<std::string> known = modules_of(model);
  for (const std::string& module : adapter.modules()) {
    if (known.contains(module)) continue;
    throw CheckpointError(adapter.directory() + ": adapts " + module +
                          ", which the model does not have\nhint: give the model that it was "
                          "trained on");
  }
}

}  // namespace

ModelPlace find_model_place(const std::string& name, const std::string& base) {
  const auto adapter = find_adapter(name);
  if (!adapter) return {config::find_model_directory(name), std::nullopt};
  const std::string weights = base.empty() ? PeftAdapter::open(*adapter).base() : base;
  if (weights.empty()) {
    throw CheckpointError(*adapter + ": does not tell base_model_name_or_path\nhint: --base DIR");
  }
  return {config::find_model_directory(weights), adapter};
}

std::optional<PeftAdapter> open_adapter(const ModelPlace& place, const config::ModelConfig& model) {
  if (!place.adapter) return std::nullopt;
  PeftAdapter adapter = PeftAdapter::open(*place.adapter);
  check_base(adapter, {place.directory, base_fingerprint(place.directory, model)});
  check_modules(adapter, model);
  return adapter;
}

}  // namespace dsmoe::train
