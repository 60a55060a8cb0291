#include "modules/weight_class.h"

#include <fnmatch.h>

#include <array>

namespace dsmoe::nn {
namespace {

bool holds(const std::string& name, const char* part) {
  return name.find(part) != std::string::npos;
}

/// The name without what every linear layer's ends with.
std::string module_of(const std::string& name) {
  constexpr const char* kEnd = ".weight";
  return name.ends_with(kEnd) ? name.substr(0, name.size() - std::string(kEnd).size()) : name;
}

bool is_glob(const std::string& pattern) {
  return pattern.find_first_of("*?[") != std::string::npos;
}

bool ends_in(const std::string& name, const std::string& parts) {
  return name == parts || name.ends_with("." + parts);
}

}  // namespace

const std::vector<WeightClass>& weight_classes() {
  static const std::vector<WeightClass> all{
      WeightClass::kEmbeddings,    WeightClass::kHead,  WeightClass::kAttention,
      WeightClass::kRouter,        WeightClass::kDense, WeightClass::kSharedExperts,
      WeightClass::kRoutedExperts, WeightClass::kNorms};
  return all;
}

const std::string& class_name(WeightClass weight_class) {
  static const std::array<std::string, 8> names{"embeddings",     "head",  "attention",
                                                "router",         "dense", "shared_experts",
                                                "routed_experts", "norms"};
  return names[static_cast<size_t>(weight_class)];
}

WeightClass class_of(const std::string& name) {
  if (holds(name, "norm.")) return WeightClass::kNorms;
  if (holds(name, "embed_tokens")) return WeightClass::kEmbeddings;
  if (holds(name, "lm_head")) return WeightClass::kHead;
  if (holds(name, ".self_attn.")) return WeightClass::kAttention;
  if (holds(name, ".mlp.gate.")) return WeightClass::kRouter;
  if (holds(name, ".mlp.shared_experts.")) return WeightClass::kSharedExperts;
  return holds(name, ".mlp.experts.") ? WeightClass::kRoutedExperts : WeightClass::kDense;
}

bool matches(const std::string& pattern, const std::string& name) {
  if (pattern == class_name(class_of(name))) return true;
  const std::string module = module_of(name);
  if (!is_glob(pattern)) return ends_in(name, pattern) || ends_in(module, pattern);
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0 ||
         fnmatch(pattern.c_str(), module.c_str(), 0) == 0;
}

}  // namespace dsmoe::nn
