#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"
#include "data/tokenizer_json.h"

namespace dsmoe::data {

/// Byte-level BPE from a tokenizer.json: the same ids as Hugging Face's `tokenizers` 0.23 with
/// add_special_tokens=False, and the same text back with skip_special_tokens=True.
/// Input that is not UTF-8 counts as the text that Python's decode("utf-8", "replace") makes of it.
/// Names of added tokens, special ones as well, are those tokens wherever they stand in a text.
class BpeTokenizer final : public Tokenizer {
 public:
  /// Throws DataError naming the file and the key of anything malformed or not supported.
  explicit BpeTokenizer(TokenizerFiles files);
  ~BpeTokenizer() override;

  /// May be called by many threads. Throws DataError when PCRE2's limits are exceeded.
  [[nodiscard]] std::vector<int64_t> encode(std::string_view text) const override;
  /// Ids out of range are left out too. The bytes need not be UTF-8: see StreamDecoder.
  [[nodiscard]] std::string decode(const std::vector<int64_t>& ids) const override;
  /// The largest id + 1.
  [[nodiscard]] int64_t vocab_size() const override;
  /// -1: there is none.
  [[nodiscard]] int64_t bos() const override;
  [[nodiscard]] int64_t eos() const override;
  /// The text that was read.
  [[nodiscard]] std::string to_json() const override;
  /// The text that was read; without one, a configuration that names BOS and EOS.
  [[nodiscard]] std::string config_json() const override;

 private:
  struct Tables;
  struct Scratch;
  class Lease;
  void encode_words(std::string_view text, Scratch& scratch, std::vector<int64_t>& ids) const;
  void encode_word(std::string_view word, Scratch& scratch) const;

  TokenizerFiles files_;
  std::unique_ptr<const Tables> tables_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> idle_;  ///< one for each concurrent encode() so far
};

}  // namespace dsmoe::data
