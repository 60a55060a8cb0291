#include "modules/key_value_cache.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace dsmoe::nn {

KeyValueCache::KeyValueCache(const config::ModelConfig& config, at::ScalarType dtype,
                             at::Device device)
    : width_(config.cache_width()) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layers_.push_back(at::empty({0, width_}, at::TensorOptions(dtype).device(device)));
  }
}

void KeyValueCache::reserve(int64_t tokens) {
  for (at::Tensor& layer : layers_) {
    if (layer.size(0) >= tokens) continue;
    at::Tensor larger = at::empty({tokens, width_}, layer.options());
    larger.narrow(0, 0, length_).copy_(layer.narrow(0, 0, length_));
    layer = larger;
  }
}

at::Tensor KeyValueCache::rows(int64_t layer, int64_t count) {
  at::Tensor& all = layers_[static_cast<size_t>(layer)];
  if (all.size(0) < count) reserve(std::max(count, 2 * all.size(0)));
  return all.narrow(0, 0, count);
}

void KeyValueCache::cut(int64_t tokens) {
  TORCH_CHECK(tokens <= length_, "cache of ", length_, " tokens cut to ", tokens);
  length_ = tokens;
}

int64_t KeyValueCache::bytes() const {
  const auto element = static_cast<int64_t>(layers_.front().element_size());
  return length_ * width_ * element * static_cast<int64_t>(layers_.size());
}

}  // namespace dsmoe::nn
