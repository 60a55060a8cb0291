#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "data/documents.h"
#include "data/fingerprint.h"
#include "data/memory_tokens.h"
#include "data/token_file.h"
#include "data/tokenizer.h"

namespace dsmoe::data {

/// The tokens of a source's documents: read from texts into memory, or a `.bin/.idx` pair that
/// stays on disk. Positions count from the first token of the first document. Movable; reading is
/// thread-safe.
class Corpus {
 public:
  /// In memory, without documents.
  explicit Corpus(int64_t vocab_size) : tokens_(MemoryTokens(vocab_size)) {}
  explicit Corpus(TokenFile file) : tokens_(std::move(file)) {}

  /// One more document: `first`, the ids of its text, `last`. Only in memory.
  void append(int64_t first, const std::vector<int64_t>& ids, int64_t last);
  /// One more document of these ids. Only in memory.
  void append(const std::vector<int64_t>& ids);

  [[nodiscard]] int64_t num_documents() const;
  [[nodiscard]] int64_t num_tokens() const { return start(num_documents()); }
  /// Position of document i's first token; i = num_documents() gives the end of the last.
  [[nodiscard]] int64_t start(int64_t i) const;
  [[nodiscard]] int64_t length(int64_t i) const { return start(i + 1) - start(i); }
  /// In memory or on disk.
  [[nodiscard]] int64_t bytes_per_token() const;

  /// Writes `count` tokens from `position` on to `out`; they must exist. On a pair this is where
  /// the ids are checked: throws DataError for one outside the tokenizer's vocabulary.
  void copy(int64_t position, int64_t count, int64_t* out) const;

  /// All documents and tokens in memory; of a pair, see TokenFile. The two differ for the same
  /// documents.
  void add_to(Fingerprint& hash) const;

 private:
  std::variant<MemoryTokens, TokenFile> tokens_;
};

/// The documents at `path`: of a `.bin/.idx` pair (see token_file_prefix) as they stand, of texts
/// (see read_documents) as BOS document EOS; `seen` is then told each of them. Throws DataError.
[[nodiscard]] Corpus read_corpus(const std::string& path, const Tokenizer& tokenizer,
                                 const std::function<void(const Document&)>& seen = {});

}  // namespace dsmoe::data
