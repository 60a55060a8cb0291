#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/corpus.h"

namespace dsmoe::data {

/// One pass over a corpus: the documents in shuffled order, laid end to end, and the order in which
/// the rows cut from them are used. Row r holds the positions [r*T, r*T + T] of that stream: T
/// inputs and one more token, shared with row r+1, for the last target.
struct Epoch {
  std::vector<int64_t> documents;  ///< the stream's documents, in order
  std::vector<int64_t> starts;     ///< stream position of each, and the stream's length
  std::vector<int64_t> rows;       ///< the rows, in the order of use
};

/// A source's sequences by number: a pure function of (corpus, T, seed, source, number). A document
/// longer than a row goes on in the next one; the last (tokens - 1) mod T tokens of an epoch are
/// not used in that epoch, which are others each time. Tables of the two epochs used last are kept.
/// Not thread-safe.
class PackedSource {
 public:
  /// name: for messages. Throws DataError when the corpus is shorter than one row.
  PackedSource(const std::string& name, Corpus corpus, int64_t sequence_length, int64_t seed,
               int64_t source);

  [[nodiscard]] const Corpus& corpus() const { return corpus_; }
  [[nodiscard]] int64_t sequences_per_epoch() const { return rows_; }

  /// Writes the T+1 tokens of sequence `index` (from 0, any number of epochs) to `out`. Returns
  /// the places 1..T among them where another document begins, ascending.
  std::vector<int64_t> read(int64_t index, int64_t* out);

 private:
  const Epoch& epoch(int64_t number);
  [[nodiscard]] Epoch make_epoch(int64_t number) const;

  Corpus corpus_;
  int64_t length_;
  int64_t seed_;
  int64_t source_;
  int64_t rows_;
  std::vector<std::pair<int64_t, Epoch>> epochs_;  ///< by number, the one used last at the back
};

}  // namespace dsmoe::data
