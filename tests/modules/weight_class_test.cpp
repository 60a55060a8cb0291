#include "modules/weight_class.h"

#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

const std::string kLayer = "model.layers.3.";

TEST_CASE("every published name has a class") {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"model.embed_tokens.weight", "embeddings"},
      {"lm_head.weight", "head"},
      {"model.norm.weight", "norms"},
      {kLayer + "input_layernorm.weight", "norms"},
      {kLayer + "self_attn.kv_a_layernorm.weight", "norms"},
      {kLayer + "self_attn.kv_a_proj_with_mqa.weight", "attention"},
      {kLayer + "mlp.gate.weight", "router"},
      {kLayer + "mlp.gate.e_score_correction_bias", "router"},
      {kLayer + "mlp.gate_proj.weight", "dense"},
      {kLayer + "mlp.shared_experts.gate_proj.weight", "shared_experts"},
      {kLayer + "mlp.experts.11.down_proj.weight", "routed_experts"}};
  for (const auto& [name, wanted] : cases) {
    CAPTURE(name);
    CHECK(class_name(class_of(name)) == wanted);
  }
}

TEST_CASE("a pattern is a class, the end of a name, or a glob") {
  const std::string q = kLayer + "self_attn.q_proj.weight";
  const std::string expert = kLayer + "mlp.experts.11.down_proj.weight";
  CHECK(matches("attention", q));
  CHECK(matches("q_proj", q));
  CHECK(matches("self_attn.q_proj", q));
  CHECK(matches("self_attn.q_proj.weight", q));
  CHECK(matches("model.layers.[0-3].*", q));
  CHECK(matches("*.self_attn.*_proj", q));
  CHECK_FALSE(matches("proj", q));
  CHECK_FALSE(matches("q", q));
  CHECK_FALSE(matches("model.layers.[0-2].*", q));
  CHECK(matches("*.experts.1?.*", expert));
  CHECK(matches("down_proj", expert));
  CHECK_FALSE(matches("shared_experts", expert));
  CHECK_FALSE(matches("experts.1.down_proj", expert));
}

}  // namespace
}  // namespace dsmoe::nn
