#include "configs/read_model.h"

#include <optional>

#include "configs/fields.h"
#include "configs/published_keys.h"
#include "configs/yaml_writer.h"

namespace dsmoe::config {
namespace {

/// One spelling of the rotary settings, as nodes of the older spelling; absent: not given.
struct Rope {
  std::optional<Node> theta;
  std::optional<Node> scaling;
};

std::vector<std::string> known_names() {
  std::vector<std::string> names;
  for (const PublishedKey& key : published_keys()) {
    names.push_back(key.name);
  }
  return names;
}

/// The rope type a map names, checked; empty where it names none.
std::string rope_type(const Node& map, const std::string& key, ErrorList& errors) {
  std::string found;
  for (const char* name : {"type", "rope_type"}) {
    const Node* type = map.find(name);
    if (type == nullptr) {
      continue;
    }
    if (type->text != "yarn" && type->text != "default") {
      errors.add(type->where, dotted(key, name),
                 "must be yarn or default, not " + flow_text(*type));
    } else if (!found.empty() && found != type->text) {
      errors.add(type->where, key, "type and rope_type differ");
    }
    found = type->text;
  }
  return found;
}

/// Splits a rope_scaling or rope_parameters map into the base and what belongs to YaRN.
Rope split_rope(const Node& map, const std::string& key, ErrorList& errors) {
  Rope rope;
  rope.scaling = map;
  if (!map.is_map()) {
    return rope;
  }
  const std::string type = rope_type(map, key, errors);
  if (const Node* theta = map.find("rope_theta")) {
    rope.theta = *theta;
  }
  for (const char* name : {"type", "rope_type", "rope_theta"}) {
    rope.scaling->remove(name);
  }
  if (type == "default") {
    if (!rope.scaling->items.empty()) {
      errors.add(map.where, key, "type default has no key " + rope.scaling->keys.front());
    }
    rope.scaling = Node{};
    rope.scaling->where = map.where;
  }
  return rope;
}

/// rope_parameters that hold neither a type nor a YaRN key say nothing about YaRN.
Rope split_parameters(const Node& map, const std::string& key, ErrorList& errors) {
  Rope rope = split_rope(map, key, errors);
  const bool named = map.find("rope_type") != nullptr || map.find("type") != nullptr;
  if (map.is_map() && !named && rope.scaling->items.empty()) {
    rope.scaling.reset();
  }
  return rope;
}

ModelConfig with_rope(const ModelConfig& base, const Rope& rope, const std::string& prefix,
                      ErrorList& errors) {
  Node map;
  if (rope.theta) {
    map.add("rope_theta", *rope.theta);
  }
  if (rope.scaling) {
    map.add("rope_scaling", *rope.scaling);
  }
  ModelConfig out = base;
  read_map(model_rows(), map, prefix, out, errors);
  return out;
}

void take(const ModelConfig& from, const Rope& rope, ModelConfig& to) {
  to.rope_theta = rope.theta ? from.rope_theta : to.rope_theta;
  to.rope_scaling = rope.scaling ? from.rope_scaling : to.rope_scaling;
}

void report_clash(const Node& newer, const std::string& prefix, const std::string& older_name,
                  ErrorList& errors) {
  errors.add(newer.where, dotted(prefix, "rope_parameters"),
             "says something else than " + dotted(prefix, older_name) + "; give one of them");
}

/// Reads both spellings and removes them from the map.
void read_rope(Node& map, const std::string& prefix, ModelConfig& model, ErrorList& errors) {
  Rope older;
  if (const Node* scaling = map.find("rope_scaling")) {
    older = split_rope(*scaling, dotted(prefix, "rope_scaling"), errors);
  }
  if (const Node* theta = map.find("rope_theta")) {
    older.theta = *theta;
  }
  const ModelConfig from_older = with_rope(model, older, prefix, errors);
  const Node* parameters = map.find("rope_parameters");
  if (parameters != nullptr && !parameters->is_null()) {
    const Rope newer = split_parameters(*parameters, dotted(prefix, "rope_parameters"), errors);
    const ModelConfig from_newer = with_rope(model, newer, prefix, errors);
    if (older.theta && newer.theta && from_older.rope_theta != from_newer.rope_theta) {
      report_clash(*parameters, prefix, "rope_theta", errors);
    }
    if (older.scaling && newer.scaling && from_older.rope_scaling != from_newer.rope_scaling) {
      report_clash(*parameters, prefix, "rope_scaling", errors);
    }
    take(from_newer, newer, model);
  }
  take(from_older, older, model);
  for (const char* name : {"rope_theta", "rope_scaling", "rope_parameters"}) {
    map.remove(name);
  }
}

void check_key(const PublishedKey& key, const Node& value, const std::string& full,
               ErrorList& errors) {
  if (!is_allowed(key, value)) {
    errors.add(
        value.where, full,
        "must be " + joined_words(key.allowed) + ", not " + flow_text(value) + ": " + key.note);
  }
}

void note(const PublishedKey& key, const Node& value, const std::string& full,
          std::vector<std::string>& notices) {
  notices.push_back(value.where + ": " + full + " is not used" +
                    (key.note.empty() ? "" : ": " + key.note));
}

/// transformers writes a V3 file without saying how it routes: the class tells it.
void default_router(const Node& map, const Node& used, ModelConfig& model) {
  const Node* type = map.find("model_type");
  if (type == nullptr || type->text != "deepseek_v3") return;
  if (used.find("scoring_func") == nullptr) model.scoring_func = ScoringFunc::kSigmoid;
  if (used.find("topk_method") != nullptr) return;
  model.topk_method = TopkMethod::kNoauxTc;
  if (used.find("group_score") == nullptr) model.group_score = GroupScore::kTop2Sum;
}

/// Published files give the heads of MLA as those of keys and values, too. What goes without saying
/// is not kept, so that equal models compare equal.
void forget_implied_heads(ModelConfig& model) {
  if (model.attention.kind == AttentionKind::kGqa) return;
  if (model.num_key_value_heads == model.implied_key_value_heads()) {
    model.num_key_value_heads.reset();
  }
}

/// Published files have no group_score: the method tells it.
void default_group_score(const Node& used, ModelConfig& model) {
  if (used.find("topk_method") == nullptr || used.find("group_score") != nullptr) return;
  model.group_score =
      model.topk_method == TopkMethod::kNoauxTc ? GroupScore::kTop2Sum : GroupScore::kMax;
}

/// `dtype` is the newer name of `torch_dtype`.
void check_dtypes(const Node& map, const std::string& prefix, ErrorList& errors) {
  const Node* older = map.find("torch_dtype");
  const Node* newer = map.find("dtype");
  if (older == nullptr || newer == nullptr || older->text == newer->text) return;
  errors.add(newer->where, dotted(prefix, "dtype"),
             "(" + flow_text(*newer) + ") says something else than " +
                 dotted(prefix, "torch_dtype") + " (" + flow_text(*older) + "); give one of them");
}

}  // namespace

void read_model(const Node& node, const std::string& prefix, ModelConfig& model, ErrorList& errors,
                std::vector<std::string>& notices) {
  if (!expect_map(node, prefix, errors)) {
    return;
  }
  report_duplicates(node, prefix, errors);
  Node map = node;
  read_rope(map, prefix, model, errors);
  Node used;
  for (size_t i = 0; i < map.items.size(); ++i) {
    const PublishedKey* key = find_published_key(map.keys[i]);
    if (key != nullptr && key->kind == KeyKind::kUsed && used.find(key->name) == nullptr) {
      used.add(key->name, map.items[i]);
    }
  }
  read_map(model_rows(), used, prefix, model, errors);
  forget_implied_heads(model);
  default_group_score(used, model);
  default_router(map, used, model);
  check_dtypes(node, prefix, errors);
  for (size_t i = 0; i < map.items.size(); ++i) {
    const std::string full = dotted(prefix, map.keys[i]);
    const PublishedKey* key = find_published_key(map.keys[i]);
    if (key == nullptr) {
      report_unknown(map.items[i], map.keys[i], prefix, known_names(), errors);
    } else if (key->kind == KeyKind::kChecked) {
      check_key(*key, map.items[i], full, errors);
    } else if (key->kind == KeyKind::kInformational) {
      note(*key, map.items[i], full, notices);
    }
  }
}

}  // namespace dsmoe::config
