#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "data/token_type.h"
#include "data/tokenizer.h"

namespace dsmoe::data {

struct TokenizeOptions {
  std::string input;   ///< as read_documents() takes it
  std::string output;  ///< prefix of the .bin and .idx
  int64_t workers = 1;
  bool overwrite = false;
  /// Text handed to the workers and not written yet, at most; a longer document goes alone. More
  /// keeps workers busy beside long documents, and takes memory.
  int64_t waiting_bytes = int64_t{256} << 20;
};

/// What is in the files so far.
struct TokenizeProgress {
  int64_t documents = 0;
  int64_t tokens = 0;      ///< BOS and EOS counted
  int64_t text_bytes = 0;  ///< of the documents' texts
  int64_t bytes_read = 0;  ///< of the input files, of bytes_to_read
  int64_t bytes_to_read = 0;
};

struct TokenizeResult {
  TokenizeProgress total;
  TokenType type = TokenType::kU16;
  std::string bin;
  std::string idx;
};

/// Called after each piece written, about every MiB of text, by the calling thread. What it throws
/// ends the work and passes through.
using TokenizeWatcher = std::function<void(const TokenizeProgress&)>;

/// The prefix for an input that names none: the file's name without its ending, a directory's or
/// bare name with ".tokens".
[[nodiscard]] std::string default_output(const std::string& input);

/// Writes the documents of `input` as PREFIX.bin and PREFIX.idx (see TokenFileWriter), each as BOS
/// text EOS, in order: the bytes do not depend on the number of workers. Nothing is left when it
/// throws. Memory: two chunks a worker, of 1 MiB of text or one longer document, together at most
/// waiting_bytes, and their tokens (8 bytes each while a document is encoded); 12 bytes a document
/// written.
/// Throws DataError on bad input, as read_documents(), when the output exists, when the input is a
/// token file already, or when the output would lie in the input directory, whose files are texts.
[[nodiscard]] TokenizeResult tokenize_corpus(const TokenizeOptions& options,
                                             const Tokenizer& tokenizer,
                                             const TokenizeWatcher& watcher);

}  // namespace dsmoe::data
