#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <span>

#include "configs/model_config.h"
#include "modules/latent_cache.h"
#include "modules/rms_norm.h"
#include "modules/rope.h"
#include "modules/segments.h"

namespace dsmoe::nn {

/// Multi-head Latent Attention, V2 (9)-(19), with query compression when q_lora_rank is set.
/// Parameters carry the published names (q_a_proj.weight, kv_a_proj_with_mqa.weight, ...).
class MultiHeadLatentAttentionImpl final : public torch::nn::Module {
 public:
  explicit MultiHeadLatentAttentionImpl(const config::ModelConfig& config);

  /// h_NM: normed layer input, rows of the segments one after the other. Returns u_NM. Local. No
  /// rows are legal.
  at::Tensor forward(const at::Tensor& h_NM, const Segments& segments, const RopeTable& rope);

  /// Goes on with sequences whose new rows stand in h_NM one after the other, and puts their
  /// latents into the caches of `layer`, (41) and (43). Sequences that all begin here attend as in
  /// forward(), others over their cache. rope reaches over every position. Local, no gradient.
  at::Tensor extend(const at::Tensor& h_NM, int64_t layer, std::span<const Continuation> parts,
                    const RopeTable& rope);

 private:
  at::Tensor query(const at::Tensor& h_NM);
  at::Tensor attend_fresh(const at::Tensor& query_NX, const at::Tensor& latent_NC,
                          const at::Tensor& key_NR, std::span<const Continuation> parts,
                          const RopeTable& rope);

  config::ModelConfig config_;
  at::Tensor q_proj_, q_a_proj_, q_b_proj_, kv_a_proj_with_mqa_, kv_b_proj_, o_proj_;
  RmsNorm q_a_layernorm_{nullptr};
  RmsNorm kv_a_layernorm_{nullptr};
};
TORCH_MODULE(MultiHeadLatentAttention);

}  // namespace dsmoe::nn
