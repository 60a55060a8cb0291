#include "configs/hf_config.h"

#include <nlohmann/json.hpp>

#include "configs/error_list.h"
#include "configs/fields.h"
#include "configs/read_model.h"
#include "configs/validate.h"
#include "configs/yaml_reader.h"

namespace dsmoe::config {
namespace {

using Json = nlohmann::ordered_json;

// A key without which a config.json does not say what its weights are.
const std::vector<std::string> kRequired{"vocab_size",
                                         "hidden_size",
                                         "num_hidden_layers",
                                         "num_attention_heads",
                                         "intermediate_size",
                                         "q_lora_rank",
                                         "kv_lora_rank",
                                         "qk_nope_head_dim",
                                         "qk_rope_head_dim",
                                         "v_head_dim",
                                         "n_routed_experts",
                                         "n_shared_experts",
                                         "moe_intermediate_size",
                                         "num_experts_per_tok",
                                         "first_k_dense_replace",
                                         "max_position_embeddings",
                                         "bos_token_id",
                                         "eos_token_id"};

Json to_json(const Node& node) {
  if (node.is_map()) {
    Json map = Json::object();
    for (size_t i = 0; i < node.items.size(); ++i) {
      map[node.keys[i]] = to_json(node.items[i]);
    }
    return map;
  }
  if (!node.is_scalar()) {
    return nullptr;
  }
  // Numbers and booleans are written alike in YAML and JSON; the rest are words.
  const Json value = Json::parse(node.text, nullptr, /*allow_exceptions=*/false);
  return node.quoted || value.is_discarded() ? Json(node.text) : value;
}

void add_rope_parameters(const ModelConfig& model, Json& out) {
  Json& parameters = out["rope_parameters"];
  parameters["rope_type"] = "default";
  parameters["rope_theta"] = model.rope_theta;
  if (!model.rope_scaling) {
    return;
  }
  for (Json* map : {&out["rope_scaling"], &parameters}) {
    (*map)["type"] = "yarn";
    (*map)["rope_type"] = "yarn";
  }
  parameters.update(out["rope_scaling"]);
}

/// Constants of the architecture, which transformers would default otherwise.
void add_constants(const ModelConfig& model, Json& out) {
  out["num_key_value_heads"] = model.key_value_heads();
  out["head_dim"] = model.qk_rope_head_dim;
  out["hidden_act"] = "silu";
  out["attention_bias"] = false;
  out["mlp_bias"] = false;
  out["attention_dropout"] = 0.0;
  out["tie_word_embeddings"] = false;
  out["pretraining_tp"] = 1;
  out["rope_interleave"] = true;
  out["pad_token_id"] = nullptr;
  out["use_cache"] = true;
}

void add_class(HfClass hf_class, Json& out) {
  switch (hf_class) {
    case HfClass::kDeepseekV2:
      out["architectures"] = {"DeepseekV2ForCausalLM"};
      out["model_type"] = "deepseek_v2";
      return;
    case HfClass::kDeepseekV3:
      out["architectures"] = {"DeepseekV3ForCausalLM"};
      out["model_type"] = "deepseek_v3";
      out["num_nextn_predict_layers"] = 0;
      return;
    case HfClass::kNone:
      break;
  }
  out["architectures"] = {"DsmoeForCausalLM"};
  out["model_type"] = "dsmoe";
}

/// The values that transformers takes where a config.json of the class is silent.
ModelConfig hf_defaults(bool v3) {
  ModelConfig model;
  if (v3) {
    model.norm_topk_prob = true;
    model.n_group = 8;
    model.topk_group = 4;
    model.routed_scaling_factor = 2.5;
    model.initializer_range = 0.02;
    return model;
  }
  model.topk_method = TopkMethod::kGreedy;
  model.n_group = 1;
  model.topk_group = 1;
  model.initializer_range = 0.02;
  return model;
}

/// Where a file leaves it out, transformers takes max_position_embeddings.
bool names_original_length(const Node& root) {
  for (const char* map : {"rope_scaling", "rope_parameters"}) {
    const Node* rope = root.find(map);
    if (rope != nullptr && rope->find("original_max_position_embeddings") != nullptr) return true;
  }
  return false;
}

/// Whether a row stands in a config.json: MLA goes without saying.
bool is_published(const std::string& name, const ModelConfig& model) {
  return name != "preset" && name != "init_from" && !(name == "attention" && model.is_mla());
}

}  // namespace

std::string to_hf_config_json(const ModelConfig& model, const std::string& dtype) {
  Json out;
  add_class(hf_class(model).hf_class, out);
  for (const Row<ModelConfig>& one : model_rows()) {
    if (is_published(one.info.name, model)) out[one.info.name] = to_json(one.write(model));
  }
  add_rope_parameters(model, out);
  add_constants(model, out);
  out["torch_dtype"] = dtype;
  out["dtype"] = dtype;
  return out.dump(2) + "\n";
}

ModelConfig from_hf_config_json(const std::string& text, const std::string& name,
                                std::vector<std::string>& notices) {
  const Node root = parse_yaml(text, name);
  ErrorList errors;
  const Node* type = root.find("model_type");
  ModelConfig model = hf_defaults(type != nullptr && type->text == "deepseek_v3");
  if (root.is_map()) {
    for (const std::string& key : kRequired) {
      if (root.find(key) == nullptr) {
        errors.add(name, key, "is missing");
      }
    }
  }
  for (const char* key : {"preset", "init_from"}) {
    if (const Node* value = root.find(key)) {
      errors.add(value->where, key, "must not stand in a config.json");
    }
  }
  read_model(root, "", model, errors, notices);
  if (model.rope_scaling && !names_original_length(root)) {
    model.rope_scaling->original_max_position_embeddings = model.max_position_embeddings;
  }
  errors.throw_if_any();
  check_model(model);
  return model;
}

}  // namespace dsmoe::config
