#include "data/pretokenizer_json.h"

#include <vector>

namespace dsmoe::data {
namespace {

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

SplitBehavior behavior_of(const JsonNode& node) {
  const std::string& name = node.string();
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  node.unsupported("is not a known behavior");
}

RegexParts pattern_of(const JsonNode& node) {
  node.only({"Regex", "String"});
  if (node.has("Regex")) {
    const JsonNode regex = node.at("Regex");
    return parse_regex(regex.string(), regex.place());
  }
  return literal_regex(node.at("String").string());
}

SplitStage read_split(const JsonNode& node) {
  node.only({"type", "pattern", "behavior", "invert"});
  return {pattern_of(node.at("pattern")), behavior_of(node.at("behavior")),
          node.at("invert").boolean(), node.place()};
}

SplitStage read_digits(const JsonNode& node) {
  node.only({"type", "individual_digits"});
  const bool individual = node.at("individual_digits").boolean();
  return {{{{"", 0}}, {rust_numeric()}},
          individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous,
          /*invert=*/false,
          node.place()};
}

void read_byte_level(const JsonNode& node, PretokenizerSpec& spec) {
  node.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  spec.add_prefix_space = node.at("add_prefix_space").boolean();
  if (node.boolean_or("use_regex", true)) {
    spec.last_stages.push_back({parse_regex(kGpt2Pattern, node.place()), SplitBehavior::kIsolated,
                                /*invert=*/false, node.place()});
  }
}

void read_stage(const JsonNode& node, PretokenizerSpec& spec) {
  const std::string& type = node.at("type").string();
  if (type == "Split") {
    spec.stages.push_back(read_split(node));
  } else if (type == "Digits") {
    spec.stages.push_back(read_digits(node));
  } else if (type == "ByteLevel") {
    node.unsupported("is not the last stage");
  } else {
    node.at("type").unsupported("is not a known pre-tokenizer");
  }
}

}  // namespace

PretokenizerSpec read_pretokenizer(const JsonNode& node) {
  if (node.value().is_null()) {
    node.unsupported("has no ByteLevel");
  }
  std::vector<JsonNode> stages;
  if (node.at("type").string() == "Sequence") {
    node.only({"type", "pretokenizers"});
    const JsonNode list = node.at("pretokenizers");
    for (size_t i = 0; i < list.array_size(); ++i) stages.push_back(list.at(i));
  } else {
    stages.push_back(node);
  }
  PretokenizerSpec spec;
  for (size_t i = 0; i + 1 < stages.size(); ++i) {
    read_stage(stages[i], spec);
  }
  if (stages.empty() || stages.back().at("type").string() != "ByteLevel") {
    node.unsupported("does not end with ByteLevel");
  }
  read_byte_level(stages.back(), spec);
  return spec;
}

}  // namespace dsmoe::data
