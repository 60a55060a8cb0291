#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "data/bpe_model_json.h"
#include "data/pretokenizer.h"

namespace dsmoe::data {

/// What the files of a tokenizer hold, as they are.
struct TokenizerFiles {
  std::string path;                   ///< of tokenizer.json, for messages
  std::string json;                   ///< its content
  std::optional<std::string> config;  ///< the content of tokenizer_config.json beside it
};

/// What they say.
struct TokenizerSpec {
  BpeModel model;
  PretokenizerSpec pretokenizer;
  int64_t bos = -1;  ///< -1: none
  int64_t eos = -1;
};

/// Reads both files. BOS and EOS are those of tokenizer_config.json, else DeepSeek's by name, else
/// what the post-processor's template puts before and behind a text; `"bos_token": null` is none.
/// Throws DataError naming file and key on anything malformed or not supported, and if no EOS is
/// found.
[[nodiscard]] TokenizerSpec read_tokenizer(const TokenizerFiles& files);

/// The files at `path`, a tokenizer.json or a folder that holds one. Throws DataError if there are
/// none.
[[nodiscard]] TokenizerFiles load_tokenizer_files(const std::string& path);

}  // namespace dsmoe::data
