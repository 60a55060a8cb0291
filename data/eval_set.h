#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/token_batch.h"
#include "data/tokenizer.h"

namespace dsmoe::data {

/// Windows of held-out documents, every token but a document's first predicted exactly once (design
/// 8.7). Texts stand between BOS and EOS; documents of a .bin/.idx pair as they are: n tokens give
/// n - 1 predictions, fewer than two give none. A document longer than the window goes on in
/// windows that overlap by one token. Rows are padded to
/// the longest of their batch. Documents and windows stand in the order of the file.
class EvalSet {
 public:
  /// window: predicted tokens per row, at least 1. Reads and decodes all tokens once. Throws
  /// DataError on a missing, empty or malformed file, and when there is nothing to predict.
  EvalSet(const std::string& path, const Tokenizer& tokenizer, int64_t window);

  [[nodiscard]] int64_t num_documents() const { return corpus_.num_documents(); }
  [[nodiscard]] int64_t num_windows() const;
  /// Rows [begin, end), clipped to num_windows(); sequence_numbers are the windows' numbers. On
  /// padding, inputs hold EOS, targets kNoTarget and valid_BT false; no row has padding before its
  /// last token. An empty range gives zero rows of `window` positions.
  [[nodiscard]] TokenBatch load(int64_t begin, int64_t end) const;
  /// Bytes of the text that windows [0, end) predict, as the tokenizer decodes it: the denominator
  /// of bits per byte. end is clipped to num_windows(); BOS and EOS stand for no bytes.
  [[nodiscard]] int64_t text_bytes(int64_t end) const;

 private:
  struct Window {
    int64_t position;    ///< of its first input, in the corpus
    int64_t length;      ///< inputs, and as many targets
    int64_t text_bytes;  ///< of all windows up to and with this one
  };
  void add_windows(int64_t document, const Tokenizer& tokenizer);

  Corpus corpus_;
  int64_t window_;
  int64_t padding_id_;
  std::vector<Window> windows_;
};

}  // namespace dsmoe::data
