#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/bpe_tokenizer.h"
#include "data/byte_alphabet.h"

namespace dsmoe::test {

using Json = nlohmann::json;

/// The split sequence of DeepSeek's tokenizer.json but for the letters beyond Latin and Greek.
inline Json deepseek_pre_tokenizer() {
  const auto split = [](const char* regex) {
    return Json{{"type", "Split"},
                {"pattern", {{"Regex", regex}}},
                {"behavior", "Isolated"},
                {"invert", false}};
  };
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", false}};
  return {{"type", "Sequence"},
          {"pretokenizers",
           {split("[\r\n]"), split("\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba]+"),
            split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"),
            split("\\s+$"), split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
            Json{{"type", "Digits"}, {"individual_digits", true}}, byte_level}}};
}

inline Json gpt2_pre_tokenizer() {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
}

inline Json added_token(int64_t id, const std::string& content, bool special = true) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

/// A tokenizer.json: the 256 bytes with their own values as ids, the results of `merges` from 256
/// on, then `<s>` and `</s>`, which the post-processor puts around a text.
inline Json tokenizer_json(const std::vector<std::pair<std::string, std::string>>& merges = {}) {
  const data::ByteAlphabet alphabet;
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[alphabet.character(static_cast<uint8_t>(byte))] = byte;
  }
  Json pairs = Json::array();
  for (const auto& [left, right] : merges) {
    const std::string whole = left + right;
    if (!vocabulary.contains(whole)) vocabulary[whole] = vocabulary.size();
    pairs.push_back(std::string(left).append(" ").append(right));
  }
  const auto count = static_cast<int64_t>(vocabulary.size());
  const auto special = [](const char* name) {
    return Json{{"SpecialToken", {{"id", name}, {"type_id", 0}}}};
  };
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", {added_token(count, "<s>"), added_token(count + 1, "</s>")}},
          {"normalizer", nullptr},
          {"pre_tokenizer", deepseek_pre_tokenizer()},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", {special("<s>"), text, special("</s>")}},
            {"pair", {text, text}},
            {"special_tokens", Json::object()}}},
          {"decoder", gpt2_pre_tokenizer()},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", pairs}}}};
}

inline data::BpeTokenizer bpe(const Json& json, std::optional<std::string> config = std::nullopt) {
  return data::BpeTokenizer({"tok/tokenizer.json", json.dump(), std::move(config)});
}

}  // namespace dsmoe::test
