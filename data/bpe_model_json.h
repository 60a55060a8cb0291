#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/added_tokens.h"
#include "data/bpe_merger.h"
#include "data/json_node.h"

namespace dsmoe::data {

/// The vocabulary and the merges of a byte-level BPE.
struct BpeModel {
  std::unordered_map<std::string, uint32_t> ids;  ///< by token as written; added tokens as well
  std::vector<std::string> tokens;                ///< by id, as written
  std::array<uint32_t, 256> byte_tokens{};
  std::vector<BpeMerger::Merge> merges;
  bool ignore_merges = false;     ///< a word that is a token is that token, whatever the merges say
  uint32_t num_model_tokens = 0;  ///< ids of tokens that are only added ones start here
  std::vector<AddedToken> added;
};

/// Reads `model` and `added_tokens` of the whole file `root`. Throws DataError naming the token on
/// ids that are given twice or leave holes, on merges of or into what is no token, on a byte
/// without a token, and on an added token whose id is not the one that Hugging Face would give it.
[[nodiscard]] BpeModel read_bpe_model(const JsonNode& root);

}  // namespace dsmoe::data
