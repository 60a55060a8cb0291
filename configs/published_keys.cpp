#include "configs/published_keys.h"

#include <cstdlib>

#include "configs/fields.h"
#include "configs/yaml_writer.h"

namespace dsmoe::config {
namespace {

const std::string kNoBalance =
    "it never sets `balance` (released files carry 0.001 whatever was trained); balance.expert "
    "counts";

std::vector<PublishedKey> checked_keys() {
  const KeyKind kind = KeyKind::kChecked;
  return {
      {"model_type", kind, {"deepseek_v2", "deepseek_v3", "dsmoe"}, "other architectures differ"},
      {"hidden_act", kind, {"silu"}, "every FFN is SwiGLU"},
      {"attention_bias", kind, {"false"}, "projections have no bias"},
      {"mlp_bias", kind, {"false"}, "projections have no bias"},
      {"attention_dropout", kind, {"0", "null"}, "there is no dropout"},
      {"tie_word_embeddings", kind, {"false"}, "the output head is a matrix of its own"},
      {"pretraining_tp", kind, {"1", "null"}, "there is no tensor parallelism"},
      {"rope_interleave", kind, {"true"}, "rotary pairs are neighbours (2i, 2i+1)"},
      {"quantization_config", kind, {"null"}, "weights are not quantised"},
  };
}

std::vector<PublishedKey> informational_keys() {
  std::vector<PublishedKey> keys{
      {"aux_loss_alpha", KeyKind::kInformational, {}, kNoBalance},
      {"seq_aux", KeyKind::kInformational, {}, kNoBalance},
      {"num_nextn_predict_layers",
       KeyKind::kInformational,
       {},
       "there is no multi-token prediction; transformers has none either"},
  };
  for (const char* name : {"architectures",
                           "auto_map",
                           "torch_dtype",
                           "dtype",
                           "transformers_version",
                           "use_cache",
                           "ep_size",
                           "head_dim",
                           "qk_head_dim",
                           "pad_token_id",
                           "_name_or_path",
                           "output_attentions",
                           "output_hidden_states",
                           "return_dict",
                           "is_encoder_decoder",
                           "chunk_size_feed_forward",
                           "id2label",
                           "label2id",
                           "problem_type",
                           "unsloth_version"}) {
    keys.push_back({name, KeyKind::kInformational, {}, {}});
  }
  return keys;
}

std::vector<PublishedKey> make_table() {
  std::vector<PublishedKey> table;
  for (const Row<ModelConfig>& one : model_rows()) {
    table.push_back({one.info.name, KeyKind::kUsed, {}, one.info.doc.meaning});
  }
  table.push_back({"rope_parameters",
                   KeyKind::kUsed,
                   {},
                   "rope_theta and rope_scaling under their newer name"});
  for (const std::vector<PublishedKey>& part : {checked_keys(), informational_keys()}) {
    table.insert(table.end(), part.begin(), part.end());
  }
  return table;
}

bool same_number(const std::string& left, const std::string& right) {
  char* left_end = nullptr;
  char* right_end = nullptr;
  const double a = std::strtod(left.c_str(), &left_end);
  const double b = std::strtod(right.c_str(), &right_end);
  return *left_end == '\0' && *right_end == '\0' && !left.empty() && !right.empty() && a == b;
}

}  // namespace

const std::vector<PublishedKey>& published_keys() {
  static const std::vector<PublishedKey> table = make_table();
  return table;
}

const PublishedKey* find_published_key(const std::string& name) {
  for (const PublishedKey& key : published_keys()) {
    if (key.name == name) {
      return &key;
    }
  }
  return nullptr;
}

bool is_allowed(const PublishedKey& key, const Node& value) {
  const std::string text = flow_text(value);
  for (const std::string& allowed : key.allowed) {
    if (text == allowed || (value.is_scalar() && same_number(text, allowed))) {
      return true;
    }
  }
  return false;
}

}  // namespace dsmoe::config
