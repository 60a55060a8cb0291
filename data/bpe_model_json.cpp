#include "data/bpe_model_json.h"

#include <utility>

#include "data/byte_alphabet.h"

namespace dsmoe::data {
namespace {

constexpr const char* kWhole = "take the file as the tokenizers library wrote it";

void check_options(const JsonNode& model) {
  model.only({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
              "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (model.has("type") && model.at("type").string() != "BPE") {
    model.at("type").unsupported("is not BPE");
  }
  if (model.has("dropout") && model.value()["dropout"] != 0.0) {
    model.at("dropout").unsupported("makes encoding random");
  }
  if (model.has("unk_token")) {
    model.at("unk_token").unsupported("has no place where every byte has a token");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (model.has(key) && !model.at(key).string().empty())
      model.at(key).unsupported("is not empty");
  }
  if (model.boolean_or("byte_fallback", false)) {
    model.at("byte_fallback").unsupported("is not false");
  }
}

void add_token(const std::string& token, uint64_t id, size_t count, const JsonNode& where,
               BpeModel& model) {
  if (id >= count) {
    where.fail("gives `" + token + "` the id " + std::to_string(id) + ", but there are only " +
                   std::to_string(count) + " tokens",
               "the ids must be 0 to " + std::to_string(count - 1) + " without holes");
  }
  const auto known = model.tokens.size() > id ? model.tokens[id] : std::string();
  if (model.tokens.size() <= id) model.tokens.resize(id + 1);
  if (!known.empty()) {
    where.fail(
        "gives the id " + std::to_string(id) + " to both `" + known + "` and `" + token + "`",
        "an id stands for one token");
  }
  model.tokens[id] = token;
  model.ids.emplace(token, static_cast<uint32_t>(id));
}

void read_vocabulary(const JsonNode& vocabulary, BpeModel& model) {
  if (!vocabulary.value().is_object() || vocabulary.value().empty()) {
    vocabulary.fail("is not an object of tokens and ids", kWhole);
  }
  const size_t count = vocabulary.value().size();
  model.tokens.resize(count);
  for (const auto& [token, id] : vocabulary.value().items()) {
    if (token.empty()) {
      vocabulary.fail("has an empty token (id " + id.dump() + " of " + std::to_string(count) + ")",
                      "remove it: no text can give it");
    }
    if (!id.is_number_unsigned()) vocabulary.at(token).unsupported("is not an id");
    add_token(token, id.get<uint64_t>(), count, vocabulary, model);
  }
  model.num_model_tokens = static_cast<uint32_t>(count);
}

void find_bytes(const JsonNode& vocabulary, BpeModel& model) {
  const ByteAlphabet alphabet;
  for (size_t byte = 0; byte < 256; ++byte) {
    const std::string token = alphabet.character(static_cast<uint8_t>(byte));
    const auto found = model.ids.find(token);
    if (found == model.ids.end()) {
      vocabulary.fail("has no token `" + token + "` for byte " + std::to_string(byte) + " of 256",
                      "train with the whole byte alphabet, or text with this byte would be lost");
    }
    model.byte_tokens[byte] = found->second;
  }
}

std::pair<std::string, std::string> halves(const JsonNode& merge) {
  if (merge.value().is_array()) {
    if (merge.array_size() != 2) merge.unsupported("is not a pair");
    return {merge.at(size_t{0}).string(), merge.at(1).string()};
  }
  const std::string& text = merge.string();
  const size_t space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
    merge.unsupported("is not two tokens with a space between them");
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

uint32_t merge_token(const std::string& token, const JsonNode& merge, const BpeModel& model) {
  const auto found = model.ids.find(token);
  if (found == model.ids.end()) {
    merge.fail("needs the token `" + token + "`, which is none of the " +
                   std::to_string(model.ids.size()) + " in model.vocab",
               "vocab and merges must come from one training");
  }
  return found->second;
}

void read_merges(const JsonNode& merges, BpeModel& model) {
  const size_t count = merges.array_size();
  model.merges.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const JsonNode merge = merges.at(i);
    if (merge.value().is_string() && merge.string().starts_with("#version")) continue;
    const auto [left, right] = halves(merge);
    model.merges.push_back({merge_token(left, merge, model), merge_token(right, merge, model),
                            merge_token(left + right, merge, model)});
  }
}

AddedToken read_added_token(const JsonNode& node) {
  node.only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.id = static_cast<int64_t>(node.at("id").number());
  token.content = node.at("content").string();
  token.single_word = node.at("single_word").boolean();
  token.lstrip = node.at("lstrip").boolean();
  token.rstrip = node.at("rstrip").boolean();
  token.normalized = node.at("normalized").boolean();
  token.special = node.at("special").boolean();
  if (token.content.empty()) {
    node.fail("has no content (id " + std::to_string(token.id) + ")", "remove it");
  }
  return token;
}

/// Hugging Face gives an added token the id that the vocabulary has for it, or else the next free
/// one, whatever the file says.
void read_added_tokens(const JsonNode& list, BpeModel& model) {
  std::unordered_map<std::string, size_t> seen;
  for (size_t i = 0; i < list.array_size(); ++i) {
    const JsonNode node = list.at(i);
    AddedToken token = read_added_token(node);
    if (!seen.emplace(token.content, i).second) {
      node.fail("is `" + token.content + "` once more", "give each added token once");
    }
    const auto known = model.ids.find(token.content);
    const auto id = static_cast<int64_t>(known == model.ids.end() ? model.tokens.size()
                                                                  : size_t{known->second});
    if (token.id != id) {
      node.fail("gives `" + token.content + "` the id " + std::to_string(token.id) +
                    ", Hugging Face would give it " + std::to_string(id),
                "ids that are not in model.vocab follow it without holes, in order");
    }
    if (known == model.ids.end()) {
      add_token(token.content, static_cast<uint64_t>(id), model.tokens.size() + 1, node, model);
    }
    model.added.push_back(std::move(token));
  }
}

}  // namespace

BpeModel read_bpe_model(const JsonNode& root) {
  const JsonNode node = root.at("model");
  check_options(node);
  BpeModel model;
  model.ignore_merges = node.boolean_or("ignore_merges", false);
  read_vocabulary(node.at("vocab"), model);
  find_bytes(node.at("vocab"), model);
  read_merges(node.at("merges"), model);
  if (root.has("added_tokens")) {
    read_added_tokens(root.at("added_tokens"), model);
  }
  return model;
}

}  // namespace dsmoe::data
