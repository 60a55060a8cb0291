#include "trainer/trained_weights.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "configs/errors.h"
#include "configs/expert_choice.h"
#include "modules/published_tensors.h"
#include "trainer/lora.h"

namespace dsmoe::train {
namespace {

using nn::WeightClass;

/// The number of a routed expert in its published name.
int64_t expert_of(const std::string& name) {
  const std::string before = ".experts.";
  return std::atoll(name.c_str() + name.find(before) + before.size());
}

/// Which weights ESFT leaves open, before finetune.freeze.
bool esft_trains(const config::EsftConfig& esft, const config::ExpertChoice& choice,
                 const std::string& name) {
  switch (nn::class_of(name)) {
    case WeightClass::kRoutedExperts:
      return choice.trains(*nn::layer_of(name), expert_of(name));
    case WeightClass::kSharedExperts:
      return esft.train_shared_experts;
    default:
      return esft.train_rest;
  }
}

/// The rates, from what was asked for.
class Rates {
 public:
  explicit Rates(const config::RunConfig& config) : finetune_(config.finetune) {
    if (finetune_.method == config::FinetuneMethod::kEsft && !finetune_.esft.experts.empty()) {
      choice_ = config::read_expert_choice(finetune_.esft.experts, config.model);
    }
  }

  [[nodiscard]] double of(const std::string& name) const {
    if (finetune_.method == config::FinetuneMethod::kLora && !nn::is_adapter(name)) return 0.0;
    if (choice_ && !esft_trains(finetune_.esft, *choice_, name)) return 0.0;
    for (const std::string& pattern : finetune_.freeze) {
      if (nn::matches(pattern, name)) return 0.0;
    }
    double rate = 1.0;
    for (const auto& [pattern, factor] : finetune_.lr_multipliers) {
      if (nn::matches(pattern, name)) rate = factor;
    }
    return rate;
  }

 private:
  config::FinetuneConfig finetune_;
  std::optional<config::ExpertChoice> choice_;
};

}  // namespace

std::vector<nn::PublishedTensor> all_tensors(const config::RunConfig& config) {
  auto tensors = nn::published_tensors(config.model);
  const auto adapters = adapter_tensors(config);
  tensors.insert(tensors.end(), adapters.begin(), adapters.end());
  return tensors;
}

void require_match(const std::string& key, const std::string& pattern,
                   const std::vector<nn::PublishedTensor>& tensors) {
  const bool any = std::any_of(tensors.begin(), tensors.end(), [&](const auto& tensor) {
    return nn::matches(pattern, tensor.name);
  });
  if (any) return;
  std::string classes;
  for (const WeightClass one : nn::weight_classes()) classes += " " + nn::class_name(one);
  throw ConfigError(key + ": `" + pattern + "` matches none of the model's " +
                    std::to_string(tensors.size()) + " tensors\nhint: classes are" + classes +
                    "; or write the end of a name as q_proj, or a glob as model.layers.0.*");
}

namespace {

/// gate_proj and up_proj are one matrix here.
void check_halves(const Rates& rates, const std::vector<nn::PublishedTensor>& tensors) {
  const std::string gate = ".gate_proj.weight";
  for (const nn::PublishedTensor& tensor : tensors) {
    if (!tensor.name.ends_with(gate) || nn::is_adapter(tensor.name)) continue;
    const std::string module = tensor.name.substr(0, tensor.name.size() - gate.size());
    if ((rates.of(tensor.name) > 0) == (rates.of(module + ".up_proj.weight") > 0)) continue;
    throw ConfigError("finetune.freeze: of " + module +
                      " only gate_proj or only up_proj is frozen\nhint: both are one matrix here; "
                      "freeze both or neither");
  }
}

}  // namespace

nn::TrainingRate training_rate(const config::RunConfig& config) {
  const config::FinetuneConfig& finetune = config.finetune;
  const bool asked = finetune.method != config::FinetuneMethod::kFull || !finetune.freeze.empty() ||
                     !finetune.lr_multipliers.empty();
  if (!asked) return nn::train_all();
  check_adapters(config);
  const auto tensors = all_tensors(config);
  for (const auto& pattern : finetune.freeze) require_match("finetune.freeze", pattern, tensors);
  for (const auto& [pattern, factor] : finetune.lr_multipliers) {
    require_match("finetune.lr_multipliers", pattern, tensors);
  }
  const Rates rates(config);
  const bool any = std::any_of(tensors.begin(), tensors.end(),
                               [&](const auto& tensor) { return rates.of(tensor.name) > 0; });
  if (!any) {
    throw ConfigError("finetune.freeze: none of " + std::to_string(tensors.size()) +
                      " tensors is left to train\nhint: freeze less");
  }
  check_halves(rates, tensors);
  return [rates](const std::string& name) { return rates.of(name); };
}

std::vector<TrainedClass> count_trained(const config::RunConfig& config,
                                        const nn::TrainingRate& rate) {
  std::vector<TrainedClass> classes;
  for (const WeightClass one : nn::weight_classes()) classes.push_back({one});
  for (const nn::PublishedTensor& tensor : all_tensors(config)) {
    if (nn::is_correction_bias(tensor.name)) continue;
    TrainedClass& counted = classes[static_cast<size_t>(nn::class_of(tensor.name))];
    counted.total += tensor.numel();
    const double multiple = rate(tensor.name);
    if (multiple <= 0) continue;
    counted.lowest_rate = counted.trained == 0 ? multiple : std::min(counted.lowest_rate, multiple);
    counted.highest_rate = std::max(counted.highest_rate, multiple);
    counted.trained += tensor.numel();
  }
  std::erase_if(classes, [](const TrainedClass& counted) { return counted.total == 0; });
  return classes;
}

}  // namespace dsmoe::train
