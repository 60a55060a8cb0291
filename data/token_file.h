#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "data/fingerprint.h"
#include "data/mapped_file.h"
#include "data/token_index.h"

namespace dsmoe::data {

/// The prefix of the Megatron pair that `path` means: a path that ends in .bin or .idx, or one
/// where nothing stands but PATH.bin or PATH.idx does. Empty: a text, JSONL file or directory.
[[nodiscard]] std::optional<std::string> token_file_prefix(const std::string& path);

/// The documents of PREFIX.bin and PREFIX.idx (see TokenIndex), mapped: opening reads the .idx, and
/// the tokens come from disk when they are asked for. They are taken as they stand: no BOS or EOS
/// is added. The files must not be changed meanwhile; if one is cut short, touching what is gone
/// ends the process with SIGBUS (see MappedFile).
class TokenFile {
 public:
  /// Throws DataError when a file is missing or the .idx does not pass TokenIndex's checks. The ids
  /// are not looked at here but in copy(): the .bin may be larger than memory.
  TokenFile(const std::string& prefix, int64_t vocab_size);

  [[nodiscard]] const TokenIndex& index() const { return index_; }
  [[nodiscard]] int64_t num_documents() const { return index_.num_documents(); }
  [[nodiscard]] int64_t start(int64_t i) const { return index_.start(i); }
  [[nodiscard]] int64_t bytes_per_token() const { return size_of(index_.type()); }

  /// Writes `count` tokens from `position` on to `out`; they must exist. Throws DataError naming
  /// file, document, position, id and vocabulary for an id that is negative or not below the
  /// vocabulary's size. Thread-safe.
  void copy(int64_t position, int64_t count, int64_t* out) const;

  /// Hashes the whole .idx, the size of the .bin, and of its content 64 blocks of 64 KiB at equal
  /// distances, the first and the last included (all of a .bin up to 4 MiB). Tokens changed between
  /// the blocks, with all lengths kept, are not noticed.
  void add_to(Fingerprint& hash) const;

 private:
  [[noreturn]] void refuse(int64_t position, int64_t id) const;

  MappedFile bin_;
  TokenIndex index_;
  int64_t vocab_size_;
};

}  // namespace dsmoe::data
