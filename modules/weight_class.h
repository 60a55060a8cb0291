#pragma once

#include <string>
#include <vector>

namespace dsmoe::nn {

/// What a published tensor is a part of.
enum class WeightClass {
  kEmbeddings,
  kHead,
  kAttention,
  kRouter,
  kDense,
  kSharedExperts,
  kRoutedExperts,
  kNorms
};

/// All classes, in the order of the enumerators.
[[nodiscard]] const std::vector<WeightClass>& weight_classes();

/// `routed_experts`: what patterns and tables call a class.
[[nodiscard]] const std::string& class_name(WeightClass weight_class);

/// The class of a tensor under its published name; a latent's norm is one of the norms.
[[nodiscard]] WeightClass class_of(const std::string& published_name);

/// Whether a pattern of finetune.freeze and its like means the tensor: a class's name; the last
/// parts of the published name with or without `.weight`, as `q_proj`; or a glob (*, ?, [0-3]) over
/// all of it.
[[nodiscard]] bool matches(const std::string& pattern, const std::string& published_name);

}  // namespace dsmoe::nn
