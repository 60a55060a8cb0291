#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "data/pending_file.h"
#include "data/token_type.h"

namespace dsmoe::data {

struct TokenFileOptions {
  TokenType type = TokenType::kU16;
  bool overwrite = false;  ///< replaces files of that prefix instead of refusing
  /// Tokens of a sequence, whose length is an int32; a longer document becomes several sequences.
  int64_t sequence_limit = std::numeric_limits<int32_t>::max();
};

/// Writes PREFIX.bin and PREFIX.idx (layout: TokenIndex), both or none: temporary files beside them
/// become the named ones in finish(), the .idx last, so that an .idx always has its .bin. Where old
/// files are overwritten, the old .idx goes first: for a moment there is no pair, never a wrong
/// one. Without finish() nothing is left. Memory: 12 bytes a document.
/// Throws as PendingFile, and DataError when files of that prefix exist already.
class TokenFileWriter {
 public:
  TokenFileWriter(const std::string& prefix, const TokenFileOptions& options);

  /// More tokens of the document under way.
  void append(const std::vector<int64_t>& ids);
  /// The same, as append_tokens() laid them out.
  void append_raw(std::span<const std::byte> tokens);
  void end_document();
  /// Syncs and publishes both files. At least one token must have been written; nothing may be
  /// called afterwards.
  void finish();

  [[nodiscard]] TokenType type() const { return options_.type; }
  [[nodiscard]] int64_t num_documents() const {
    return static_cast<int64_t>(boundaries_.size()) - 1;
  }
  [[nodiscard]] int64_t num_tokens() const { return num_tokens_; }

 private:
  void end_sequence();
  void write_index();
  void publish();

  TokenFileOptions options_;
  std::string prefix_;
  PendingFile bin_;
  PendingFile index_;
  int64_t num_tokens_ = 0;
  int64_t sequence_tokens_ = 0;   ///< of the sequence under way
  std::vector<int32_t> lengths_;  ///< of the sequences that are whole
  std::vector<int64_t> boundaries_{0};
};

}  // namespace dsmoe::data
