#include "configs/hf_config.h"

namespace dsmoe::config {
namespace {

// What transformers keeps in the latent norms whatever rms_norm_eps says.
constexpr double kLatentEps = 1e-6;

std::string dense_layers_reason(const ModelConfig& model) {
  for (int64_t layer = 0; layer < model.num_hidden_layers; ++layer) {
    if (model.is_moe_layer(layer) != (layer >= model.first_k_dense_replace)) {
      return "layer " + std::to_string(layer) +
             " is dense here, but transformers only looks at first_k_dense_replace";
    }
  }
  return {};
}

/// transformers takes the factor of cosines and sines from both scales, or else from neither.
std::string yarn_reason(const ModelConfig& model) {
  if (!model.rope_scaling || model.rope_scaling->factor <= 1.0) {
    return {};
  }
  const RopeScaling& yarn = *model.rope_scaling;
  const bool both = yarn.mscale != 0.0 && yarn.mscale_all_dim != 0.0;
  const bool plain = yarn.mscale == 1.0 && yarn.mscale_all_dim == 0.0;
  return both || plain ? ""
                       : "transformers ignores rope_scaling.mscale unless mscale_all_dim is given";
}

/// What speaks against both classes.
std::string common_reason(const ModelConfig& model) {
  if (!model.is_mla()) {
    return "attention.kind is not mla, the only attention of the DeepSeek classes";
  }
  if (model.rms_norm_eps != kLatentEps) {
    return "rms_norm_eps is not 1e-6, which transformers keeps in the latent norms";
  }
  const std::string dense = dense_layers_reason(model);
  return dense.empty() ? yarn_reason(model) : dense;
}

std::string v2_reason(const ModelConfig& model) {
  if (model.hidden_size % model.num_attention_heads != 0) {
    return "hidden_size (" + std::to_string(model.hidden_size) +
           ") is not divisible by num_attention_heads (" +
           std::to_string(model.num_attention_heads) + "), which DeepseekV2 demands";
  }
  if (model.norm_topk_prob) {
    return "norm_topk_prob is true, which DeepseekV2 ignores";
  }
  if (model.topk_method == TopkMethod::kGroupLimitedGreedy &&
      model.group_score != GroupScore::kMax) {
    return "group_score is not max, the only one DeepseekV2 has";
  }
  return {};
}

std::string v3_reason(const ModelConfig& model) {
  return model.group_score == GroupScore::kTop2Sum
             ? ""
             : "group_score is not top2_sum, the only one DeepseekV3 has";
}

HfVerdict verdict(HfClass hf_class, const std::string& against) {
  return against.empty() ? HfVerdict{hf_class, ""} : HfVerdict{HfClass::kNone, against};
}

}  // namespace

HfVerdict hf_class(const ModelConfig& model) {
  const std::string common = common_reason(model);
  if (!common.empty()) {
    return {HfClass::kNone, common};
  }
  const bool sigmoid = model.scoring_func == ScoringFunc::kSigmoid;
  const bool biased = model.topk_method == TopkMethod::kNoauxTc;
  if (sigmoid && biased) {
    return verdict(HfClass::kDeepseekV3, v3_reason(model));
  }
  if (sigmoid || biased) {
    return {HfClass::kNone, "scoring_func and topk_method are together in no transformers class"};
  }
  return verdict(HfClass::kDeepseekV2, v2_reason(model));
}

std::string hf_class_name(HfClass hf_class) {
  switch (hf_class) {
    case HfClass::kDeepseekV2:
      return "deepseek_v2";
    case HfClass::kDeepseekV3:
      return "deepseek_v3";
    case HfClass::kNone:
      break;
  }
  return "none";
}

}  // namespace dsmoe::config
