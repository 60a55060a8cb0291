#pragma once

#include <string>
#include <vector>

#include "configs/model_config.h"

namespace dsmoe::config {

enum class HfClass { kDeepseekV2, kDeepseekV3, kNone };

/// Which transformers class computes what this configuration means; `reason` says why none does.
struct HfVerdict {
  HfClass hf_class = HfClass::kNone;
  std::string reason;
};

/// Judged against transformers 5.18: both ignore moe_layer_freq and have eps 1e-6 in the latent
/// norms; DeepseekV2 ignores norm_topk_prob, has group score max only and needs hidden_size % heads
/// == 0; DeepseekV3 has group score top2_sum only.
HfVerdict hf_class(const ModelConfig& model);

/// `deepseek_v2`, `deepseek_v3` or `none`.
std::string hf_class_name(HfClass hf_class);

/// config.json with every key that transformers reads (its own defaults are another model's), rope
/// and dtype in the older and the newer spelling. `dtype` is float32, bfloat16 or float64. Where
/// hf_class is none, model_type is `dsmoe`, so that transformers refuses.
std::string to_hf_config_json(const ModelConfig& model, const std::string& dtype);

/// A published or own config.json; `name` stands in messages. Keys that transformers defaults are
/// taken at its defaults, those that make the shape must be there; check_model() is applied.
/// Throws ConfigError.
ModelConfig from_hf_config_json(const std::string& text, const std::string& name,
                                std::vector<std::string>& notices);

}  // namespace dsmoe::config
