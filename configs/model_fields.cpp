#include "configs/fields.h"

namespace dsmoe::config {
namespace {

const Rule<int64_t> kPositive = count_from(1);
const Rule<int64_t> kCount = count_from(0);

Rows<ModelConfig> source_rows() {
  return {
      row("preset", &ModelConfig::preset, optional_text(),
          {.meaning = "a file of model keys read before the others, such as models/tiny; searched "
                      "beside this file, in configs/ and in the installed share/dsmoe/configs",
           .why = "start from a known shape; keys given beside it win; a resolved configuration "
                  "names none"}),
      row("init_from", &ModelConfig::init_from, optional_text(),
          {.meaning = "a Hugging Face or step directory whose weights the run starts from; what "
                      "its config.json says of the architecture holds where no key stands here",
           .why = "fine-tune or continue; null: random weights"}),
  };
}

Rows<ModelConfig> size_rows() {
  return {
      row("vocab_size", &ModelConfig::vocab_size, integer(kPositive),
          {.meaning = "rows of the embedding and of the output head",
           .symbol = "V",
           .why = "at least the tokenizer's ids: 259 for bytes, 102400 for DeepSeek-V2's"}),
      row("hidden_size", &ModelConfig::hidden_size, integer(kPositive),
          {.meaning = "width of the residual stream",
           .symbol = "d",
           .why = "a multiple of num_attention_heads, or transformers refuses the model"}),
      row("num_hidden_layers", &ModelConfig::num_hidden_layers, integer(kPositive),
          {.meaning = "transformer blocks", .symbol = "L", .unit = "layers"}),
      row("num_attention_heads", &ModelConfig::num_attention_heads, integer(kPositive),
          {.meaning = "attention heads", .symbol = "n_h"}),
      row("intermediate_size", &ModelConfig::intermediate_size, integer(kPositive),
          {.meaning = "width of the SwiGLU of the dense layers",
           .why = "about that of the active experts together: (K_r + N_s) * "
                  "moe_intermediate_size"}),
      row("max_position_embeddings", &ModelConfig::max_position_embeddings, integer(kPositive),
          {.meaning = "longest sequence the model is meant for", .unit = "tokens"}),
  };
}

Rows<AttentionConfig> attention_kind_rows() {
  return {
      row("kind", &AttentionConfig::kind,
          choice<AttentionKind>({{"mla", AttentionKind::kMla},
                                 {"mha", AttentionKind::kMha},
                                 {"gqa", AttentionKind::kGqa},
                                 {"mqa", AttentionKind::kMqa}}),
          {.meaning = "mla: keys and values from one latent, V2 section 2.1; mha: of each head, V2 "
                      "(1)-(8); gqa, mqa: num_key_value_heads of them, or one",
           .why = "to repeat V2's ablations (appendix D); transformers' DeepSeek classes have mla "
                  "alone"}),
  };
}

Rows<ModelConfig> attention_rows() {
  return {
      row("attention", &ModelConfig::attention, map_of(attention_kind_rows()),
          {.meaning = "which attention the layers have"}),
      row("num_key_value_heads", &ModelConfig::num_key_value_heads, optional_integer(kPositive),
          {.meaning = "heads of keys and values; null: num_attention_heads, with mqa 1; must be "
                      "given with gqa, where it divides num_attention_heads",
           .why = "fewer: less cache; with mla and mha only num_attention_heads fits"}),
      row("q_lora_rank", &ModelConfig::q_lora_rank, optional_integer(kPositive),
          {.meaning = "width of the compressed query, V2 (12); null: a plain query projection",
           .symbol = "d_c'",
           .why = "saves activation memory in large models; V2 1536, V2-Lite null"}),
      row("kv_lora_rank", &ModelConfig::kv_lora_rank, integer(kPositive),
          {.meaning = "width of the compressed key-value latent, V2 (9): what is cached",
           .symbol = "d_c",
           .why = "4 * qk_nope_head_dim in V2; smaller: less cache, less quality"}),
      row("qk_nope_head_dim", &ModelConfig::qk_nope_head_dim, integer(kCount),
          {.meaning = "part of a query or key head without rotation; 0 only outside of mla",
           .symbol = "d_h"}),
      row("qk_rope_head_dim", &ModelConfig::qk_rope_head_dim, integer(count_from(2)),
          {.meaning =
               "rotated part of a query head, and of the one rotated key of all heads (mla) or "
               "of each key head; even",
           .symbol = "d_h^R",
           .why = "half of qk_nope_head_dim in V2"}),
      row("v_head_dim", &ModelConfig::v_head_dim, integer(kPositive),
          {.meaning = "width of a value head", .symbol = "d_v"}),
  };
}

Rows<ModelConfig> expert_rows() {
  return {
      row("n_routed_experts", &ModelConfig::n_routed_experts, integer(kCount),
          {.meaning = "routed experts of a layer; 0: every layer is dense",
           .symbol = "N_r",
           .why = "a multiple of n_group and of parallel.expert"}),
      row("n_shared_experts", &ModelConfig::n_shared_experts, integer(kCount),
          {.meaning = "experts that every token visits",
           .symbol = "N_s",
           .why = "DeepSeekMoE found about one shared to three active routed best"}),
      row("num_experts_per_tok", &ModelConfig::num_experts_per_tok, integer(kPositive),
          {.meaning = "routed experts of one token", .symbol = "K_r"}),
      row("moe_intermediate_size", &ModelConfig::moe_intermediate_size, integer(kPositive),
          {.meaning = "width of one expert's SwiGLU",
           .symbol = "m",
           .why = "small, with many experts: fine-grained segmentation"}),
      row("first_k_dense_replace", &ModelConfig::first_k_dense_replace, integer(kCount),
          {.meaning = "leading layers that are dense",
           .unit = "layers",
           .why = "the balance of a first MoE layer converges slowly; V2 has 1"}),
      row("moe_layer_freq", &ModelConfig::moe_layer_freq, integer(kPositive),
          {.meaning = "every n-th layer after those holds experts",
           .unit = "layers",
           .why = "1 in every release; transformers ignores another value"}),
  };
}

Rows<ModelConfig> routing_rows() {
  return {
      row("scoring_func", &ModelConfig::scoring_func,
          choice<ScoringFunc>(
              {{"softmax", ScoringFunc::kSoftmax}, {"sigmoid", ScoringFunc::kSigmoid}}),
          {.meaning = "affinity from the router's logits, V2 (22)",
           .symbol = "s",
           .why = "softmax: V2; sigmoid: V3, where an expert's affinity does not depend on the "
                  "others'"}),
      row("topk_method", &ModelConfig::topk_method,
          choice<TopkMethod>({{"greedy", TopkMethod::kGreedy},
                              {"group_limited_greedy", TopkMethod::kGroupLimitedGreedy},
                              {"noaux_tc", TopkMethod::kNoauxTc},
                              {"gready", TopkMethod::kGreedy}}),
          {.meaning = "which experts a token gets: the best K_r of all, or the best K_r within the "
                      "topk_group best groups (V2 section 2.2.2); noaux_tc: the latter, choosing "
                      "by affinity plus a bias of the expert that is no part of the weight (V3); "
                      "gready, the spelling of released code, is read as greedy",
           .why = "the group limit bounds a token's traffic to topk_group devices"}),
      row("group_score", &ModelConfig::group_score,
          choice<GroupScore>({{"max", GroupScore::kMax},
                              {"top2_sum", GroupScore::kTop2Sum},
                              {"topk_sum", GroupScore::kTopkSum}}),
          {.meaning = "a group's score: its best affinity (V2), the sum of its best two, or of its "
                      "best K_r / topk_group (V3); where topk_method is given without it: "
                      "top2_sum for noaux_tc, else max",
           .why = "transformers has max with softmax and top2_sum with noaux_tc, nothing else"}),
      row("n_group", &ModelConfig::n_group, integer_null_is_one(kPositive),
          {.meaning = "device groups the experts are cut into, contiguous and equal",
           .symbol = "D",
           .unit = "groups",
           .why = "part of the model, not of the layout: parallel.expert divides it or is a "
                  "multiple of it"}),
      row("topk_group", &ModelConfig::topk_group, integer_null_is_one(kPositive),
          {.meaning = "groups a token may reach",
           .symbol = "M",
           .unit = "groups",
           .why = "V2 found 3 of 8 about as good as all"}),
      row("norm_topk_prob", &ModelConfig::norm_topk_prob, boolean(),
          {.meaning = "divide the chosen weights by their sum",
           .why = "false in V2; transformers' DeepseekV2 ignores true"}),
      row("routed_scaling_factor", &ModelConfig::routed_scaling_factor, number(number_above(0.0)),
          {.meaning = "multiplies the gate weights, after normalising",
           .why = "V2 16, V2-Lite 1; raises routed experts against shared ones"}),
  };
}

Rows<ModelConfig> numeric_rows() {
  return {
      row("rms_norm_eps", &ModelConfig::rms_norm_eps, number(number_above(0.0)),
          {.meaning = "added to the mean square in every RMSNorm",
           .why = "transformers keeps 1e-6 in the latent norms whatever stands here"}),
      row("rope_theta", &ModelConfig::rope_theta, number(number_above(0.0)),
          {.meaning = "base of the rotary frequencies"}),
      row("rope_scaling", &ModelConfig::rope_scaling, optional_map(rope_scaling_rows()),
          {.meaning = "YaRN, V2 section 3.1.4; null: plain RoPE",
           .why = "for context extension; what stands here is applied at every length"}),
      row("initializer_range", &ModelConfig::initializer_range, number(number_above(0.0)),
          {.meaning = "standard deviation of the initial weights, norms are 1",
           .why = "0.006 in the papers; released config.json files say 0.02"}),
      row("bos_token_id", &ModelConfig::bos_token_id, integer(kCount),
          {.meaning = "token before each document", .why = "256 for bytes, 100000 in V2"}),
      row("eos_token_id", &ModelConfig::eos_token_id, integer(kCount),
          {.meaning = "token after each document", .why = "257 for bytes, 100001 in V2"}),
  };
}

}  // namespace

const Rows<RopeScaling>& rope_scaling_rows() {
  static const Rows<RopeScaling> rows{
      row("factor", &RopeScaling::factor, number(number_at_least(1.0)),
          {.meaning = "how many times longer the context becomes", .symbol = "s", .why = "V2: 40"}),
      row("original_max_position_embeddings", &RopeScaling::original_max_position_embeddings,
          integer(kPositive), {.meaning = "length the model was trained at", .unit = "tokens"}),
      row("beta_fast", &RopeScaling::beta_fast, number(number_above(0.0)),
          {.meaning = "frequencies that turn more often than this keep their base",
           .symbol = "beta",
           .unit = "turns"}),
      row("beta_slow", &RopeScaling::beta_slow, number(number_above(0.0)),
          {.meaning = "frequencies that turn less often are divided by factor",
           .symbol = "alpha",
           .unit = "turns"}),
      row("mscale", &RopeScaling::mscale, number(number_at_least(0.0)),
          {.meaning = "scale of the cosines and sines, over that of mscale_all_dim",
           .why = "0.707 in V2, 1 in V2.5"}),
      row("mscale_all_dim", &RopeScaling::mscale_all_dim, number(number_at_least(0.0)),
          {.meaning = "scale of the logits: (0.1 * mscale_all_dim * ln s + 1) squared",
           .why = "equal to mscale in every release"}),
  };
  return rows;
}

const Rows<ModelConfig>& model_rows() {
  static const Rows<ModelConfig> rows = [] {
    Rows<ModelConfig> all;
    for (const Rows<ModelConfig>& part : {source_rows(), size_rows(), attention_rows(),
                                          expert_rows(), routing_rows(), numeric_rows()}) {
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }();
  return rows;
}

Section model_section() {
  return make_section("model", "The architecture, under the names of the published config.json.",
                      &RunConfig::model, model_rows());
}

}  // namespace dsmoe::config
