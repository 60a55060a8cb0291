#include <utility>

#include "configs/checks.h"
#include "configs/validate.h"

namespace dsmoe::config {
namespace {

const std::string kKindKey = "model.attention.kind";

void check_group_score(const ModelConfig& model, ErrorList& errors) {
  require(model.group_score != GroupScore::kTop2Sum || model.experts_per_group() >= 2,
          "model.group_score (top2_sum) needs two experts in a group, " +
              shown("model.n_routed_experts", model.n_routed_experts) + " over " +
              shown("model.n_group", model.n_group) + " gives one",
          errors);
  if (model.group_score == GroupScore::kTopkSum) {
    require_divisible("model.group_score (topk_sum): model.num_experts_per_tok",
                      model.num_experts_per_tok, "model.topk_group", model.topk_group, errors);
  }
}

void check_groups(const ModelConfig& model, ErrorList& errors) {
  require_divisible("model.n_routed_experts", model.n_routed_experts, "model.n_group",
                    model.n_group, errors);
  require_at_most("model.topk_group", model.topk_group, "model.n_group", model.n_group, errors);
  if (model.topk_method == TopkMethod::kGreedy || model.n_routed_experts % model.n_group != 0) {
    return;
  }
  const int64_t reachable = model.topk_group * model.experts_per_group();
  require(reachable >= model.num_experts_per_tok,
          shown("model.topk_group", model.topk_group) + " groups of " +
              std::to_string(model.experts_per_group()) + " experts hold " +
              std::to_string(reachable) + ", fewer than " +
              shown("model.num_experts_per_tok", model.num_experts_per_tok),
          errors);
  check_group_score(model, errors);
}

void check_experts(const ModelConfig& model, ErrorList& errors) {
  if (model.n_routed_experts == 0) {
    return;
  }
  require_at_most("model.num_experts_per_tok", model.num_experts_per_tok, "model.n_routed_experts",
                  model.n_routed_experts, errors);
  check_groups(model, errors);
}

/// What a count of key-value heads must be, by the kind of attention.
void check_key_value_heads(const ModelConfig& model, ErrorList& errors) {
  const std::string name = "model.num_key_value_heads";
  if (model.attention.kind == AttentionKind::kGqa) {
    require(model.num_key_value_heads.has_value(),
            name + " must be given with " + kKindKey + "=gqa", errors);
    require_divisible("model.num_attention_heads", model.num_attention_heads, name,
                      model.key_value_heads(), errors);
    return;
  }
  const int64_t wanted = model.implied_key_value_heads();
  require(model.key_value_heads() == wanted,
          shown(name, model.key_value_heads()) + " must equal " +
              (model.attention.kind == AttentionKind::kMqa
                   ? "1 with " + kKindKey + "=mqa"
                   : shown("model.num_attention_heads", wanted) +
                         ": only gqa has another number of them (" + kKindKey + ")"),
          errors);
}

void check_attention(const ModelConfig& model, ErrorList& errors) {
  check_key_value_heads(model, errors);
  require(!model.is_mla() || model.qk_nope_head_dim > 0,
          shown("model.qk_nope_head_dim", model.qk_nope_head_dim) +
              " must be at least 1 with mla, whose latent makes only that part of a key",
          errors);
}

void check_rope(const ModelConfig& model, ErrorList& errors) {
  require(model.qk_rope_head_dim % 2 == 0,
          shown("model.qk_rope_head_dim", model.qk_rope_head_dim) +
              " must be even: rotation works on pairs",
          errors);
  require(!model.rope_scaling || model.rope_scaling->beta_fast > model.rope_scaling->beta_slow,
          "model.rope_scaling.beta_fast must be larger than model.rope_scaling.beta_slow", errors);
}

void check_architecture(const ModelConfig& model, ErrorList& errors) {
  check_attention(model, errors);
  check_experts(model, errors);
  check_rope(model, errors);
  require_at_most("model.first_k_dense_replace", model.first_k_dense_replace,
                  "model.num_hidden_layers", model.num_hidden_layers, errors);
  for (const auto& [key, token] : {std::pair{"model.bos_token_id", model.bos_token_id},
                                   std::pair{"model.eos_token_id", model.eos_token_id}}) {
    require(
        token < model.vocab_size,
        shown(key, token) + " must be smaller than " + shown("model.vocab_size", model.vocab_size),
        errors);
  }
}

}  // namespace

void collect_model_errors(const ModelConfig& model, ErrorList& errors) {
  check_architecture(model, errors);
}

void check_model(const ModelConfig& model) {
  ErrorList errors;
  collect_model_errors(model, errors);
  errors.throw_if_any();
}

}  // namespace dsmoe::config
