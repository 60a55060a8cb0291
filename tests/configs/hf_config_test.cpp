#include "configs/hf_config.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "configs/resolve.h"
#include "tests/configs/expect_error.h"
#include "tests/support/catch.h"

namespace {

using namespace dsmoe::config;  // NOLINT: a test of one namespace

// The keys of the released DeepSeek-V2, in its order.
const std::string kReleased = R"({
  "architectures": ["DeepseekV2ForCausalLM"],
  "attention_bias": false,
  "attention_dropout": 0.0,
  "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV2Config"},
  "aux_loss_alpha": 0.001,
  "bos_token_id": 100000,
  "eos_token_id": 100001,
  "first_k_dense_replace": 1,
  "hidden_act": "silu",
  "hidden_size": 5120,
  "initializer_range": 0.02,
  "intermediate_size": 12288,
  "kv_lora_rank": 512,
  "max_position_embeddings": 163840,
  "model_type": "deepseek_v2",
  "moe_intermediate_size": 1536,
  "moe_layer_freq": 1,
  "n_group": 8,
  "n_routed_experts": 160,
  "n_shared_experts": 2,
  "norm_topk_prob": false,
  "num_attention_heads": 128,
  "num_experts_per_tok": 6,
  "num_hidden_layers": 60,
  "num_key_value_heads": 128,
  "pretraining_tp": 1,
  "q_lora_rank": 1536,
  "qk_nope_head_dim": 128,
  "qk_rope_head_dim": 64,
  "rms_norm_eps": 1e-06,
  "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707,
    "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096, "type": "yarn"},
  "rope_theta": 10000,
  "routed_scaling_factor": 16.0,
  "scoring_func": "softmax",
  "seq_aux": true,
  "tie_word_embeddings": false,
  "topk_group": 3,
  "topk_method": "group_limited_greedy",
  "torch_dtype": "bfloat16",
  "transformers_version": "4.39.3",
  "use_cache": true,
  "v_head_dim": 128,
  "vocab_size": 102400
})";

ModelConfig released() {
  std::vector<std::string> notices;
  return from_hf_config_json(kReleased, "config.json", notices);
}

ModelConfig read_model_section(const std::string& keys) {
  return resolve_text("model: {" + keys + "}\n", "run.yaml", {}, {}).config.model;
}

void expect_error(const std::string& keys, std::initializer_list<const char*> texts) {
  INFO(keys);
  expect_config_error([&] { read_model_section(keys); }, texts);
}

std::string reason(const ModelConfig& model) { return hf_class(model).reason; }

std::string without(const std::string& text, const std::string& line_start) {
  const size_t begin = text.find("  \"" + line_start + "\"");
  return text.substr(0, begin) + text.substr(text.find('\n', begin) + 1);
}

}  // namespace

TEST_CASE("a released config.json is a configuration, alone or pasted as the model section") {
  const ModelConfig alone = released();
  CHECK(alone.hidden_size == 5120);
  CHECK(alone.q_lora_rank == 1536);
  CHECK(alone.routed_scaling_factor == 16.0);
  CHECK(alone.topk_method == TopkMethod::kGroupLimitedGreedy);
  REQUIRE(alone.rope_scaling.has_value());
  CHECK(*alone.rope_scaling == RopeScaling{40.0, 4096, 32.0, 1.0, 0.707, 0.707});
  CHECK(resolve_text("model: " + kReleased, "x", {}, {}).config.model == alone);
  CHECK(resolve_text(kReleased, "config.json", {}, {}).config.model == alone);
}

TEST_CASE("informational keys are answered with one notice each, and set nothing") {
  const Resolved read = resolve_text("model: " + kReleased, "x.yaml", {}, {});
  CHECK(read.notices.size() == 7);
  CHECK(read.config.balance == BalanceConfig{});
  int about_balance = 0;
  for (const std::string& notice : read.notices) {
    about_balance += notice.find("never sets `balance`") != std::string::npos ? 1 : 0;
  }
  CHECK(about_balance == 2);
  CHECK(read.notices[0] == "x.yaml:2: model.architectures is not used");
}

TEST_CASE("checked keys must have the implemented value") {
  expect_error("hidden_act: gelu", {"run.yaml:1: model.hidden_act: must be silu, not gelu"});
  expect_error("attention_bias: true", {"model.attention_bias: must be false, not true"});
  expect_error("mlp_bias: true", {"model.mlp_bias"});
  expect_error("attention_dropout: 0.1", {"model.attention_dropout: must be 0 | null, not 0.1"});
  expect_error("tie_word_embeddings: true", {"model.tie_word_embeddings"});
  expect_error("pretraining_tp: 2", {"model.pretraining_tp"});
  expect_error("rope_interleave: false", {"model.rope_interleave"});
  expect_error("quantization_config: {quant_method: fp8}", {"model.quantization_config"});
  expect_error("model_type: llama", {"model.model_type: must be deepseek_v2 | deepseek_v3"});
  expect_error("num_key_value_heads: 2",
               {"model.num_key_value_heads (2) must equal model.num_attention_heads (4)"});
  CHECK_NOTHROW(read_model_section("num_key_value_heads: 8, num_attention_heads: 8"));
}

TEST_CASE("the misspelt method of released code is read as greedy and written correctly") {
  const ModelConfig model = read_model_section("topk_method: gready");
  CHECK(model.topk_method == TopkMethod::kGreedy);
  CHECK(to_hf_config_json(model, "float32").find("gready") == std::string::npos);
}

TEST_CASE("both spellings of the rotary settings are read") {
  const std::string yarn = "factor: 8, mscale: 0.5, mscale_all_dim: 0.5";
  const ModelConfig older =
      read_model_section("rope_theta: 5e4, rope_scaling: {type: yarn, " + yarn + "}");
  const ModelConfig newer =
      read_model_section("rope_parameters: {rope_type: yarn, rope_theta: 50000, " + yarn + "}");
  CHECK(older == newer);
  CHECK(older.rope_theta == 50000.0);
  CHECK(older.rope_scaling->factor == 8.0);
  const ModelConfig plain =
      read_model_section("rope_parameters: {rope_type: default, rope_theta: 500.0}");
  CHECK(plain.rope_theta == 500.0);
  CHECK_FALSE(plain.rope_scaling.has_value());
  CHECK_FALSE(read_model_section("rope_scaling: null").rope_scaling.has_value());
}

TEST_CASE("a clash between the two spellings is an error") {
  expect_error("rope_theta: 1.0, rope_parameters: {rope_type: default, rope_theta: 2.0}",
               {"model.rope_parameters: says something else than model.rope_theta"});
  expect_error("rope_scaling: {type: yarn, factor: 2}, rope_parameters: {rope_type: default}",
               {"model.rope_parameters: says something else than model.rope_scaling"});
  expect_error(
      "rope_scaling: {type: yarn, factor: 2}, "
      "rope_parameters: {rope_type: yarn, factor: 4}",
      {"model.rope_parameters: says something else than model.rope_scaling"});
  CHECK_NOTHROW(
      read_model_section("rope_scaling: null, rope_theta: 2.0, "
                         "rope_parameters: {rope_type: default, rope_theta: 2}"));
}

TEST_CASE("rotary settings of another kind are refused") {
  expect_error("rope_scaling: {type: linear, factor: 2}",
               {"model.rope_scaling.type: must be yarn or default, not linear"});
  expect_error("rope_scaling: {type: default, factor: 2}", {"type default has no key factor"});
  expect_error("rope_scaling: {type: yarn, rope_type: default}", {"type and rope_type differ"});
  expect_error("rope_scaling: {type: yarn, factor: 0.5}",
               {"model.rope_scaling.factor: must be >= 1.0, not 0.5"});
}

TEST_CASE("groups that are null, as transformers writes them, are one group") {
  const ModelConfig model =
      read_model_section("n_group: null, topk_group: null, topk_method: greedy");
  CHECK(model.n_group == 1);
  CHECK(model.topk_group == 1);
}

TEST_CASE("a config.json without a shape key is refused") {
  std::vector<std::string> notices;
  expect_config_error(
      [&] { from_hf_config_json(without(kReleased, "v_head_dim"), "config.json", notices); },
      {"config.json: v_head_dim: is missing"});
  expect_config_error([&] { from_hf_config_json("[1]", "config.json", notices); },
                      {"must be a map"});
  expect_config_error([&] { from_hf_config_json("{}", "config.json", notices); },
                      {"vocab_size: is missing"});
}

TEST_CASE("keys that transformers defaults are taken at its defaults") {
  std::vector<std::string> notices;
  std::string text = kReleased;
  for (const char* key :
       {"topk_method", "n_group", "topk_group", "scoring_func", "moe_layer_freq"}) {
    text = without(text, key);
  }
  const ModelConfig model = from_hf_config_json(text, "config.json", notices);
  CHECK(model.topk_method == TopkMethod::kGreedy);
  CHECK(model.n_group == 1);
  CHECK(model.topk_group == 1);
}

TEST_CASE("config.json that is written reads back to the same model") {
  ModelConfig grouped;
  grouped.attention.kind = AttentionKind::kGqa;
  grouped.num_key_value_heads = 2;
  for (const ModelConfig& model : {ModelConfig{}, released(), grouped}) {
    std::vector<std::string> notices;
    const std::string text = to_hf_config_json(model, "bfloat16");
    CHECK(from_hf_config_json(text, "config.json", notices) == model);
  }
}

TEST_CASE("config.json holds what transformers needs in the older and the newer spelling") {
  const auto json = nlohmann::json::parse(to_hf_config_json(released(), "bfloat16"));
  CHECK(json["model_type"] == "deepseek_v2");
  CHECK(json["architectures"][0] == "DeepseekV2ForCausalLM");
  CHECK(json["torch_dtype"] == "bfloat16");
  CHECK(json["dtype"] == "bfloat16");
  CHECK(json["num_key_value_heads"] == 128);
  CHECK(json["rope_scaling"]["type"] == "yarn");
  CHECK(json["rope_parameters"]["rope_type"] == "yarn");
  CHECK(json["rope_parameters"]["rope_theta"] == 10000.0);
  CHECK(json["rope_parameters"]["factor"] == 40.0);
  CHECK(json["rope_theta"] == 10000.0);
  const auto plain = nlohmann::json::parse(to_hf_config_json(ModelConfig{}, "float32"));
  CHECK(plain["rope_scaling"].is_null());
  CHECK(plain["rope_parameters"]["rope_type"] == "default");
  CHECK(plain["q_lora_rank"].is_null());
  CHECK(plain["norm_topk_prob"] == false);
  CHECK(plain["rms_norm_eps"] == 1e-6);
}

TEST_CASE("other attentions than MLA are of no DeepSeek class") {
  const ModelConfig mqa = read_model_section("attention: {kind: mqa}, qk_nope_head_dim: 0");
  CHECK(mqa.key_value_heads() == 1);
  CHECK(mqa.cache_width() == mqa.qk_rope_head_dim + mqa.v_head_dim);
  CHECK(hf_class(mqa).reason.find("attention.kind is not mla") == 0);
  const auto json = nlohmann::json::parse(to_hf_config_json(mqa, "float32"));
  CHECK(json["model_type"] == "dsmoe");
  CHECK(json["attention"]["kind"] == "mqa");
  CHECK(json["num_key_value_heads"] == 1);
  CHECK_FALSE(
      nlohmann::json::parse(to_hf_config_json(ModelConfig{}, "float32")).contains("attention"));
}

TEST_CASE("the class of transformers is named where it computes the same") {
  CHECK(hf_class(ModelConfig{}).hf_class == HfClass::kDeepseekV2);
  CHECK(hf_class(released()).hf_class == HfClass::kDeepseekV2);
  ModelConfig no_shared;
  no_shared.n_shared_experts = 0;
  CHECK(hf_class(no_shared).hf_class == HfClass::kDeepseekV2);
  ModelConfig v3;
  v3.scoring_func = ScoringFunc::kSigmoid;
  v3.topk_method = TopkMethod::kNoauxTc;
  v3.group_score = GroupScore::kTop2Sum;
  v3.norm_topk_prob = true;
  CHECK(hf_class(v3).hf_class == HfClass::kDeepseekV3);
  v3.hidden_size = 250;
  CHECK(hf_class(v3).hf_class == HfClass::kDeepseekV3);
  CHECK(hf_class_name(HfClass::kDeepseekV3) == "deepseek_v3");
}

TEST_CASE("what transformers would compute differently has no class, and says why") {
  const auto changed = [](auto change) {
    ModelConfig model;
    change(model);
    CHECK(hf_class(model).hf_class == HfClass::kNone);
    const auto json = nlohmann::json::parse(to_hf_config_json(model, "float32"));
    CHECK(json["model_type"] == "dsmoe");
    return reason(model);
  };
  CHECK(changed([](ModelConfig& m) { m.norm_topk_prob = true; }).find("norm_topk_prob") == 0);
  CHECK(changed([](ModelConfig& m) { m.hidden_size = 250; }).find("hidden_size (250)") == 0);
  CHECK(changed([](ModelConfig& m) { m.group_score = GroupScore::kTop2Sum; }).find("group_score") ==
        0);
  CHECK(changed([](ModelConfig& m) { m.moe_layer_freq = 2; }).find("layer 1 is dense") == 0);
  CHECK(changed([](ModelConfig& m) { m.rms_norm_eps = 1e-5; }).find("rms_norm_eps") == 0);
  CHECK(changed([](ModelConfig& m) {
          m.scoring_func = ScoringFunc::kSigmoid;
        }).find("scoring_func") == 0);
  CHECK(changed([](ModelConfig& m) {
          m.rope_scaling = RopeScaling{40.0, 4096, 32.0, 1.0, 0.707, 0.0};
        }).find("transformers ignores rope_scaling.mscale") == 0);
}

TEST_CASE("a V3 file says by its class how it routes") {
  std::vector<std::string> notices;
  ModelConfig model;
  model.topk_method = dsmoe::config::TopkMethod::kNoauxTc;
  model.scoring_func = dsmoe::config::ScoringFunc::kSigmoid;
  model.group_score = dsmoe::config::GroupScore::kTop2Sum;
  std::string text = to_hf_config_json(model, "float32");
  for (const char* line : {"\"scoring_func\"", "\"topk_method\"", "\"group_score\""}) {
    const size_t at = text.find(line);
    text.erase(at, text.find('\n', at) - at);
  }
  CHECK(from_hf_config_json(text, "config.json", notices) == model);
}
