#pragma once

#include <torch/nn/pimpl.h>

#include "modules/attention.h"
#include "modules/linear_layer.h"
#include "modules/rms_norm.h"

namespace dsmoe::nn {

/// Multi-head Latent Attention, V2 (9)-(19), with query compression when q_lora_rank is set. What
/// is cached is the latent and the rotated key, (41) and (43).
/// Parameters carry the published names (q_a_proj.weight, kv_a_proj_with_mqa.weight, ...).
class MultiHeadLatentAttentionImpl final : public Attention {
 public:
  explicit MultiHeadLatentAttentionImpl(const config::ModelConfig& config,
                                        const Recompute& recompute = {});

  at::Tensor forward(const at::Tensor& h_NM, const SequenceInfo& sequences, const RopeTable& rope,
                     const RemadePtr& again = {}) override;
  at::Tensor extend(const at::Tensor& h_NM, int64_t layer, std::span<const Continuation> parts,
                    const RopeTable& rope) override;

 private:
  /// A product's output, and how to make it again.
  struct Product {
    at::Tensor y_NX;
    RemadePtr again{};
  };
  /// x W^T, that attention reads; `again` as LinearLayer takes it.
  Product product(LinearLayer& projection, const at::Tensor& x_NI,
                  const std::vector<uint64_t>& row_keys, const RemadePtr& again);
  /// What a latent's norm and its up-projection make of it.
  Product up(RmsNorm& norm, LinearLayer& projection, const at::Tensor& latent_NC,
             const std::vector<uint64_t>& row_keys);
  Product query(const at::Tensor& h_NM, const std::vector<uint64_t>& row_keys = {},
                const RemadePtr& again = {});

  config::ModelConfig config_;
  Recompute recompute_;
  LinearLayer q_proj_{nullptr}, q_a_proj_{nullptr}, q_b_proj_{nullptr};
  LinearLayer kv_a_proj_with_mqa_{nullptr}, kv_b_proj_{nullptr}, o_proj_{nullptr};
  RmsNorm q_a_layernorm_{nullptr};
  RmsNorm kv_a_layernorm_{nullptr};
};
TORCH_MODULE(MultiHeadLatentAttention);

}  // namespace dsmoe::nn
