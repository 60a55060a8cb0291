#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "configs/model_config.h"

namespace dsmoe::nn {

/// What decoding keeps of one sequence: cache_width() numbers of each layer and token. Under MLA
/// those are the normed latent c^KV and the rotated decoupled key k^R, the boxed vectors of V2 (41)
/// and (43), side by side; other attentions keep the rotated keys, then the values. Host memory.
class KeyValueCache {
 public:
  KeyValueCache(const config::ModelConfig& config, at::ScalarType dtype,
                at::Device device = at::kCPU);

  /// Tokens that are in every layer.
  [[nodiscard]] int64_t length() const { return length_; }
  /// Room for so many tokens without moving what is there.
  void reserve(int64_t tokens);
  /// The first `count` tokens of a layer, [count, cache_width()], a view that the next reserve()
  /// ends; what lies behind length() is yet to be written.
  [[nodiscard]] at::Tensor rows(int64_t layer, int64_t count);
  /// The layers have `tokens` more.
  void advance(int64_t tokens) { length_ += tokens; }
  /// Forgets all but the first `tokens`.
  void cut(int64_t tokens);

  /// Of the tokens held, in all layers.
  [[nodiscard]] int64_t bytes() const;

 private:
  int64_t width_;
  int64_t length_ = 0;
  std::vector<at::Tensor> layers_;  ///< [capacity, width] each
};

/// New rows of one sequence, which go on where its cache ends.
struct Continuation {
  KeyValueCache* cache;
  int64_t rows;
};

}  // namespace dsmoe::nn
