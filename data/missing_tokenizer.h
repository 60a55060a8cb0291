#pragma once

#include <string>

#include "data/tokenizer.h"

namespace dsmoe::data {

/// Stands for the tokenizer of a model directory that has none: ids go in and out as they are, and
/// text is refused.
class MissingTokenizer final : public Tokenizer {
 public:
  MissingTokenizer(std::string directory, int64_t vocab_size, int64_t bos, int64_t eos);

  /// Throws DataError.
  [[nodiscard]] std::vector<int64_t> encode(std::string_view text) const override;
  /// Nothing.
  [[nodiscard]] std::string decode(const std::vector<int64_t>& ids) const override;
  [[nodiscard]] int64_t vocab_size() const override { return vocab_size_; }
  [[nodiscard]] int64_t bos() const override { return bos_; }
  [[nodiscard]] int64_t eos() const override { return eos_; }
  /// Throws DataError.
  [[nodiscard]] std::string to_json() const override;
  /// No key at all.
  [[nodiscard]] std::string config_json() const override { return "{}\n"; }

 private:
  [[noreturn]] void refuse() const;

  std::string directory_;
  int64_t vocab_size_;
  int64_t bos_;
  int64_t eos_;
};

}  // namespace dsmoe::data
