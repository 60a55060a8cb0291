#include "data/byte_tokenizer.h"

#include <nlohmann/json.hpp>

#include "data/byte_alphabet.h"
#include "data/chat_template.h"

namespace dsmoe::data {
namespace {

using Json = nlohmann::ordered_json;

// The published names of DeepSeek-V2's special tokens; unlikely within a text.
constexpr const char* kBosName = "<\uff5cbegin\u2581of\u2581sentence\uff5c>";
constexpr const char* kEosName = "<\uff5cend\u2581of\u2581sentence\uff5c>";
constexpr const char* kPadName = "<\uff5cpad\uff5c>";

Json byte_vocabulary() {
  const ByteAlphabet alphabet;
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[alphabet.character(static_cast<uint8_t>(byte))] = byte;
  }
  return vocabulary;
}

Json added_token(int64_t id, const char* name) {
  return {{"id", id},        {"content", name},     {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

Json byte_level() {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", false}};
}

Json bos_template() {
  const Json bos = {{"SpecialToken", {{"id", kBosName}, {"type_id", 0}}}};
  const Json first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json second = {{"Sequence", {{"id", "B"}, {"type_id", 0}}}};
  const Json bos_ids = {{"id", kBosName},
                        {"ids", Json::array({ByteTokenizer::kBos})},
                        {"tokens", Json::array({kBosName})}};
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({bos, first})},
          {"pair", Json::array({bos, first, bos, second})},
          {"special_tokens", {{kBosName, bos_ids}}}};
}

Json byte_pair_model() {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", byte_vocabulary()},
          {"merges", Json::array()}};
}

}  // namespace

std::vector<int64_t> ByteTokenizer::encode(std::string_view text) const {
  std::vector<int64_t> ids;
  ids.reserve(text.size());
  for (const char character : text) {
    ids.push_back(static_cast<unsigned char>(character));
  }
  return ids;
}

std::string ByteTokenizer::decode(const std::vector<int64_t>& ids) const {
  std::string bytes;
  bytes.reserve(ids.size());
  for (const int64_t id : ids) {
    if (id >= 0 && id < 256) {
      bytes.push_back(static_cast<char>(id));
    }
  }
  return bytes;
}

std::string ByteTokenizer::to_json() const {
  const Json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", Json::array({added_token(kBos, kBosName), added_token(kEos, kEosName),
                                    added_token(kPad, kPadName)})},
      {"normalizer", nullptr},
      {"pre_tokenizer", byte_level()},
      {"post_processor", bos_template()},
      {"decoder", byte_level()},
      {"model", byte_pair_model()}};
  return tokenizer.dump(2) + "\n";
}

std::string ByteTokenizer::config_json() const {
  const Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                       {"bos_token", kBosName},
                       {"eos_token", kEosName},
                       {"pad_token", kPadName},
                       {"clean_up_tokenization_spaces", false},
                       {"chat_template", chat_template_text()}};
  return config.dump(2) + "\n";
}

}  // namespace dsmoe::data
