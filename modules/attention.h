#pragma once

#include <torch/nn/module.h>

#include <memory>
#include <span>

#include "configs/model_config.h"
#include "modules/key_value_cache.h"
#include "modules/recompute.h"
#include "modules/rope.h"
#include "modules/sequence_info.h"

namespace dsmoe::nn {

/// The attention of a layer, whatever its kind. Parameters carry the published names.
class Attention : public torch::nn::Module {
 public:
  /// h_NM: normed layer input, rows of the sequences' segments one after the other. Returns u_NM.
  /// again: makes h_NM for the backward pass. Local. No rows are legal, and stand in the graph as
  /// others do: a rank without rows takes part in the same exchanges backward.
  virtual at::Tensor forward(const at::Tensor& h_NM, const SequenceInfo& sequences,
                             const RopeTable& rope, const RemadePtr& again) = 0;

  /// Goes on with sequences whose new rows stand in h_NM one after the other, and puts what later
  /// rows need into the caches of `layer`. Sequences that all begin here attend as in forward(),
  /// others over their cache. rope reaches over every position. Local, no gradient.
  virtual at::Tensor extend(const at::Tensor& h_NM, int64_t layer,
                            std::span<const Continuation> parts, const RopeTable& rope) = 0;
};

/// The kind that model.attention.kind names.
[[nodiscard]] std::shared_ptr<Attention> make_attention(const config::ModelConfig& config,
                                                        const Recompute& recompute = {});

}  // namespace dsmoe::nn
