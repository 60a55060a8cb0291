#pragma once

#include "configs/run_config.h"

namespace dsmoe::test {

/// Every mechanism at the smallest size: query compression, unequal head widths, a dense layer, two
/// MoE layers of 8 experts in 4 groups.
inline config::ModelConfig tiny_model() {
  config::ModelConfig m;
  m.vocab_size = 11;
  m.hidden_size = 8;
  m.num_hidden_layers = 3;
  m.num_attention_heads = 2;
  m.intermediate_size = 7;
  m.q_lora_rank = 5;
  m.kv_lora_rank = 6;
  m.qk_nope_head_dim = 3;
  m.qk_rope_head_dim = 4;
  m.v_head_dim = 2;
  m.n_routed_experts = 8;
  m.n_shared_experts = 2;
  m.num_experts_per_tok = 3;
  m.moe_intermediate_size = 3;
  m.n_group = 4;
  m.topk_group = 2;
  m.routed_scaling_factor = 2.0;
  return m;
}

}  // namespace dsmoe::test
