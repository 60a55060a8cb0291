#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "configs/model_config.h"

namespace dsmoe::nn {

/// What decoding keeps of one sequence: for each layer and token the normed latent c^KV and the
/// rotated decoupled key k^R, the boxed vectors of V2 (41) and (43), side by side. d_c + d_h^R
/// numbers a token and layer, whatever the number of heads. Host memory.
class LatentCache {
 public:
  LatentCache(const config::ModelConfig& config, at::ScalarType dtype);

  /// Tokens that are in every layer.
  [[nodiscard]] int64_t length() const { return length_; }
  /// Room for so many tokens without moving what is there.
  void reserve(int64_t tokens);
  /// The first `count` tokens of a layer, [count, d_c + d_h^R], a view that the next reserve()
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
  LatentCache* cache;
  int64_t rows;
};

}  // namespace dsmoe::nn
