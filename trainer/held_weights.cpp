#include "trainer/held_weights.h"

#include "modules/weight_class.h"
#include "trainer/trained_weights.h"

namespace dsmoe::train {

HeldCount& HeldCount::operator+=(const HeldCount& other) {
  held += other.held;
  dense += other.dense;
  expert += other.expert;
  return *this;
}

HeldWeights::HeldWeights(const config::RunConfig& config)
    : layers_(static_cast<size_t>(config.model.num_hidden_layers)) {
  const nn::TrainingRate rate = training_rate(config);
  for (const nn::PublishedTensor& tensor : all_tensors(config)) {
    if (nn::is_correction_bias(tensor.name)) continue;
    const auto layer = nn::layer_of(tensor.name);
    const bool embeds = nn::class_of(tensor.name) == nn::WeightClass::kEmbeddings;
    Part& part = layer ? layers_[static_cast<size_t>(*layer)] : embeds ? embedding_ : head_;
    const bool expert = nn::is_routed_expert(tensor.name);
    (expert ? part.experts_held : part.count.held) += tensor.numel();
    if (rate(tensor.name) > 0) (expert ? part.count.expert : part.count.dense) += tensor.numel();
  }
}

HeldCount HeldWeights::of(const std::vector<nn::LayerSlice>& slices, int64_t expert_size) const {
  HeldCount count;
  int64_t experts_held = 0;
  const auto add = [&](const Part& part) {
    count += part.count;
    experts_held += part.experts_held;
  };
  for (const nn::LayerSlice& slice : slices) {
    for (int64_t i = slice.begin; i < slice.end; ++i) add(layers_[static_cast<size_t>(i)]);
  }
  if (slices.front().first()) add(embedding_);
  if (slices.back().end == static_cast<int64_t>(layers_.size())) add(head_);
  count.held += experts_held / expert_size;
  count.expert /= expert_size;
  return count;
}

}  // namespace dsmoe::train
