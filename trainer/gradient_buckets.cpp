#include "trainer/gradient_buckets.h"

#include <algorithm>

#include "modules/published_tensors.h"
#include "modules/weight_class.h"

namespace dsmoe::train {
namespace {

/// When a tensor's gradient is complete; see GradientBucket.
int64_t completing_layer(const nn::StoredTensor& tensor, const config::ModelConfig& model) {
  if (const auto layer = nn::layer_of(tensor.name)) return *layer;
  const bool embedding = nn::class_of(tensor.name) == nn::WeightClass::kEmbeddings;
  return embedding ? -1 : model.num_hidden_layers - 1;
}

bool within(int64_t layer, const nn::LayerSlice& slice) {
  return (layer < 0 ? slice.first() : slice.begin <= layer) && layer < slice.end;
}

/// Ascending, neighbours as one.
std::vector<GradientRange> merged(std::vector<GradientRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  std::vector<GradientRange> result;
  for (const GradientRange& range : ranges) {
    if (!result.empty() && result.back().end == range.begin) {
      result.back().end = range.end;
    } else {
      result.push_back(range);
    }
  }
  return result;
}

/// A tensor's range and when it is complete.
struct Part {
  GradientRange range;
  int64_t layer;
};

std::vector<Part> parts_of(const nn::ParameterStore& store, nn::ParameterGroup group,
                           const nn::LayerSlice& slice, const config::ModelConfig& model) {
  std::vector<Part> parts;
  for (const nn::StoredTensor& tensor : store.tensors()) {
    const int64_t layer = completing_layer(tensor, model);
    if (tensor.group != group || !tensor.trains() || !within(layer, slice)) continue;
    parts.push_back({{tensor.state, tensor.state + tensor.numel}, layer});
  }
  std::stable_sort(parts.begin(), parts.end(),
                   [](const Part& a, const Part& b) { return a.layer > b.layer; });
  return parts;
}

/// Cuts the parts, latest layer first, between layers.
void add_buckets(std::vector<GradientBucket>& out, GradientBucket open,
                 const std::vector<Part>& parts, int64_t numbers) {
  int64_t filled = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    open.layer = parts[i].layer;
    open.ranges.push_back(parts[i].range);
    filled += parts[i].range.end - parts[i].range.begin;
    const bool layer_ends = i + 1 == parts.size() || parts[i + 1].layer != open.layer;
    if (!layer_ends || (filled < numbers && i + 1 < parts.size())) continue;
    out.push_back(open);
    out.back().ranges = merged(open.ranges);
    open.ranges.clear();
    filled = 0;
  }
}

}  // namespace

std::vector<GradientBucket> gradient_buckets(const nn::ParameterStore& store,
                                             const std::vector<nn::LayerSlice>& slices,
                                             const config::ModelConfig& model, int64_t bytes) {
  std::vector<GradientBucket> buckets;
  const auto width = static_cast<int64_t>(store.gradients().dense.element_size());
  for (size_t slice = slices.size(); slice-- > 0;) {
    for (const auto group : {nn::ParameterGroup::kDense, nn::ParameterGroup::kExpert}) {
      add_buckets(buckets, {group, {}, slice, 0}, parts_of(store, group, slices[slice], model),
                  bytes / width);
    }
  }
  return buckets;
}

}  // namespace dsmoe::train
