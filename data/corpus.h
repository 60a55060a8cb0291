#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "data/tokenizer.h"

namespace dsmoe::data {

/// Tokenised documents in memory, one flat vector of the narrowest integers that hold the ids: two
/// bytes a token up to a vocabulary of 65,536, else four. Positions count from the first token of
/// the first document.
class Corpus {
 public:
  explicit Corpus(int64_t vocab_size);

  /// One more document: `first`, the ids of its text, `last`.
  void append(int64_t first, const std::vector<int64_t>& ids, int64_t last);

  [[nodiscard]] int64_t num_documents() const { return static_cast<int64_t>(starts_.size()) - 1; }
  [[nodiscard]] int64_t num_tokens() const { return starts_.back(); }
  /// Position of document i's first token; i = num_documents() gives the end of the last.
  [[nodiscard]] int64_t start(int64_t i) const { return starts_[static_cast<size_t>(i)]; }
  [[nodiscard]] int64_t length(int64_t i) const { return start(i + 1) - start(i); }

  /// Writes `count` tokens from `position` on to `out`; they must exist.
  void copy(int64_t position, int64_t count, int64_t* out) const;

  /// What a fingerprint hashes: the documents' starts, and the tokens as they lie in memory.
  [[nodiscard]] std::span<const std::byte> start_bytes() const;
  [[nodiscard]] std::span<const std::byte> token_bytes() const;

 private:
  std::variant<std::vector<uint16_t>, std::vector<uint32_t>> tokens_;
  std::vector<int64_t> starts_{0};
};

/// Every document at `path` (see read_documents) as BOS document EOS. Throws DataError.
[[nodiscard]] Corpus read_corpus(const std::string& path, const Tokenizer& tokenizer);

}  // namespace dsmoe::data
