#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace dsmoe::data {

/// id = byte; 256 BOS, 257 EOS, 258 PAD. Any bytes encode and come back unchanged.
/// As `tokenizer.json`: byte-level BPE without merges. Hugging Face's reader takes the names of the
/// special tokens for the tokens themselves wherever they stand in a text; this one does not.
class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr int64_t kBos = 256;
  static constexpr int64_t kEos = 257;
  static constexpr int64_t kPad = 258;
  static constexpr int64_t kVocabSize = 259;

  [[nodiscard]] std::vector<int64_t> encode(std::string_view text) const override;
  /// Ids that are no byte, special or out of range, are left out.
  [[nodiscard]] std::string decode(const std::vector<int64_t>& ids) const override;
  [[nodiscard]] int64_t vocab_size() const override { return kVocabSize; }
  [[nodiscard]] int64_t bos() const override { return kBos; }
  [[nodiscard]] int64_t eos() const override { return kEos; }
  [[nodiscard]] std::string to_json() const override;
  [[nodiscard]] std::string config_json() const override;
};

}  // namespace dsmoe::data
