#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "data/fingerprint.h"

namespace dsmoe::data {

/// Tokenised documents in memory, one flat vector of the narrowest integers that hold the ids: two
/// bytes a token up to a vocabulary of 65,536, else four; and eight bytes a document.
class MemoryTokens {
 public:
  explicit MemoryTokens(int64_t vocab_size);

  /// One more document: `first`, the ids of its text, `last`.
  void append(int64_t first, const std::vector<int64_t>& ids, int64_t last);
  /// One more document of these ids.
  void append(const std::vector<int64_t>& ids);

  [[nodiscard]] int64_t num_documents() const { return static_cast<int64_t>(starts_.size()) - 1; }
  [[nodiscard]] int64_t start(int64_t i) const { return starts_[static_cast<size_t>(i)]; }
  [[nodiscard]] int64_t bytes_per_token() const;
  void copy(int64_t position, int64_t count, int64_t* out) const;
  /// Hashes the documents' starts and all tokens.
  void add_to(Fingerprint& hash) const;

 private:
  void add(const int64_t* ids, size_t count);

  std::variant<std::vector<uint16_t>, std::vector<uint32_t>> tokens_;
  std::vector<int64_t> starts_{0};
};

}  // namespace dsmoe::data
