#include "data/tokenizer_json.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "data/json_node.h"
#include "data/pretokenizer_json.h"

namespace dsmoe::data {
namespace fs = std::filesystem;
namespace {

using Json = JsonNode::Json;

constexpr const char* kDeepSeekBos = "<\uff5cbegin\u2581of\u2581sentence\uff5c>";
constexpr const char* kDeepSeekEos = "<\uff5cend\u2581of\u2581sentence\uff5c>";

/// The names of BOS and EOS; empty: not found.
struct SpecialNames {
  std::string bos;
  std::string eos;
};

Json parse(const std::string& text, const std::string& path) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw DataError(path + ": not valid JSON at byte " + std::to_string(error.byte) + " of " +
                    std::to_string(text.size()) + "\nhint: is the download complete?");
  }
}

void require_null(const JsonNode& root, const char* key, const char* why) {
  if (root.has(key)) root.at(key).unsupported(why);
}

void check_normalizer(const JsonNode& root) {
  if (!root.has("normalizer")) return;
  const JsonNode node = root.at("normalizer");
  const bool is_empty = node.value().is_object() && node.value().value("type", "") == "Sequence" &&
                        node.at("normalizers").array_size() == 0;
  if (!is_empty) node.unsupported("is a normalizer");
}

bool is_byte_level(const JsonNode& decoder) {
  const std::string& type = decoder.at("type").string();
  if (type == "ByteLevel") return true;
  if (type != "Sequence") decoder.at("type").unsupported("is not ByteLevel");
  const JsonNode list = decoder.at("decoders");
  bool found = false;
  for (size_t i = 0; i < list.array_size(); ++i) {
    const JsonNode part = list.at(i);
    const bool fuses = part.at("type").string() == "Fuse";  // joins what ByteLevel joined already
    if (!fuses && (found || !is_byte_level(part))) part.unsupported("is not one ByteLevel");
    found = found || !fuses;
  }
  return found;
}

void check_decoder(const JsonNode& root) {
  if (!root.has("decoder")) {
    root.fail("has no `decoder`, so that decoding would show the byte alphabet",
              "supported is the decoder ByteLevel");
  }
  const JsonNode decoder = root.at("decoder");
  if (!is_byte_level(decoder)) decoder.unsupported("is not ByteLevel");
}

/// `{"SpecialToken": {"id": NAME}}` before `{"Sequence": {"id": "A"}}` is BOS, behind it EOS.
SpecialNames names_in_template(const JsonNode& node) {
  const JsonNode single = node.at("single");
  SpecialNames names;
  bool behind = false;
  for (size_t i = 0; i < single.array_size(); ++i) {
    const JsonNode item = single.at(i);
    if (!item.has("SpecialToken")) {
      behind = true;
      continue;
    }
    std::string& name = behind ? names.eos : names.bos;
    if (name.empty()) name = item.at("SpecialToken").at("id").string();
  }
  return names;
}

SpecialNames names_in_post_processor(const JsonNode& node) {
  const std::string& type = node.at("type").string();
  if (type == "TemplateProcessing") return names_in_template(node);
  if (type == "ByteLevel") return {};
  if (type != "Sequence") node.at("type").unsupported("is not a known post-processor");
  const JsonNode list = node.at("processors");
  SpecialNames names;
  for (size_t i = 0; i < list.array_size(); ++i) {
    const SpecialNames found = names_in_post_processor(list.at(i));
    if (names.bos.empty()) names.bos = found.bos;
    if (names.eos.empty()) names.eos = found.eos;
  }
  return names;
}

/// The token that tokenizer_config.json names under `key`; empty: it says nothing.
std::string configured(const JsonNode& config, const char* key) {
  if (!config.has(key)) return "";
  const JsonNode node = config.at(key);
  return node.value().is_object() ? node.at("content").string() : node.string();
}

int64_t id_of(const std::string& name, const BpeModel& model, const std::string& place) {
  const auto found = model.ids.find(name);
  if (found == model.ids.end()) {
    throw DataError(place + ": `" + name + "` is none of the " +
                    std::to_string(model.tokens.size()) +
                    " tokens of tokenizer.json\nhint: the two files must belong together");
  }
  return found->second;
}

/// The first that is known: configured, DeepSeek's, the template's.
int64_t find_special(const std::string& name, const char* deepseek, const std::string& templated,
                     const BpeModel& model, const std::string& path) {
  if (!name.empty()) return id_of(name, model, path + " (its tokenizer_config.json)");
  if (model.ids.contains(deepseek)) return model.ids.at(deepseek);
  return templated.empty() ? -1 : id_of(templated, model, path + ": post_processor");
}

void find_specials(const TokenizerFiles& files, const SpecialNames& templated,
                   TokenizerSpec& spec) {
  const std::string place = (fs::path(files.path).parent_path() / "tokenizer_config.json").string();
  const Json config = files.config ? parse(*files.config, place) : Json::object();
  const JsonNode node(config, place);
  const bool no_bos = config.contains("bos_token") && config["bos_token"].is_null();
  if (!no_bos) {
    spec.bos = find_special(configured(node, "bos_token"), kDeepSeekBos, templated.bos, spec.model,
                            files.path);
  }
  spec.eos = find_special(configured(node, "eos_token"), kDeepSeekEos, templated.eos, spec.model,
                          files.path);
  if (spec.eos < 0) {
    throw DataError(
        files.path + ": no EOS token is named in " +
        (files.config ? "tokenizer_config.json" : "a tokenizer_config.json beside it") +
        ", by DeepSeek's name or by the template, among " +
        std::to_string(spec.model.tokens.size()) + " tokens, " +
        std::to_string(spec.model.added.size()) +
        " of them added\nhint: write {\"eos_token\": \"<|endoftext|>\"} there, with the "
        "name that it has");
  }
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad()) {
    throw DataError(path.string() + ": cannot be read, " + std::to_string(content.size()) +
                    " bytes came\nhint: check its permissions");
  }
  return content;
}

}  // namespace

TokenizerSpec read_tokenizer(const TokenizerFiles& files) {
  const Json json = parse(files.json, files.path);
  const JsonNode root(json, files.path);
  root.only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
             "post_processor", "decoder", "model"});
  if (root.has("version") && root.at("version").string() != "1.0") {
    root.at("version").unsupported("is not version 1.0");
  }
  require_null(root, "truncation", "would cut texts off");
  require_null(root, "padding", "would lengthen texts");
  check_normalizer(root);
  check_decoder(root);
  TokenizerSpec spec;
  spec.pretokenizer = read_pretokenizer(root.at("pre_tokenizer"));
  spec.model = read_bpe_model(root);
  const SpecialNames templated = root.has("post_processor")
                                     ? names_in_post_processor(root.at("post_processor"))
                                     : SpecialNames{};
  find_specials(files, templated, spec);
  return spec;
}

TokenizerFiles load_tokenizer_files(const std::string& path) {
  fs::path file(path);
  if (fs::is_directory(file)) {
    file /= "tokenizer.json";
  }
  if (!fs::is_regular_file(file)) {
    throw DataError(file.string() + ": no such file (looked from " + fs::current_path().string() +
                    ")\nhint: give a tokenizer.json or the folder that holds one; "
                    "scripts/train-tokenizer makes one");
  }
  TokenizerFiles files{file.string(), read_file(file), std::nullopt};
  if (const fs::path config = file.parent_path() / "tokenizer_config.json"; fs::exists(config)) {
    files.config = read_file(config);
  }
  return files;
}

}  // namespace dsmoe::data
