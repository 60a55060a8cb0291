#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "data/sample_set.h"
#include "data/token_batch.h"

namespace dsmoe::data {

/// A range [begin, end) of global sequence numbers.
struct SequenceRange {
  int64_t begin = 0;
  int64_t end = 0;
};

/// Samples of a source that are evaluated instead of trained on.
struct HeldOut {
  std::string source;
  SampleSet samples;
};

/// Training sequences by global sequence number: a pure function of (config.data, seed, number),
/// the same on any layout. Packs documents (BOS document EOS; those of a .bin/.idx pair as they
/// stand) to rows of sequence_length tokens, or lays samples whole into them (data.packing); reads
/// ahead in a thread.
class Loader {
 public:
  /// Opens and indexes every source. Throws DataError naming the file and the line.
  Loader(const config::DataConfig& config, int64_t seed);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The sequences of `range`, in order; an empty range gives a batch of zero rows. Throws
  /// DataError for a token of a .bin that is outside the vocabulary.
  [[nodiscard]] TokenBatch load(SequenceRange range);
  /// Tells the reading thread which range will be asked for next; optional, and wrong guesses cost
  /// only time.
  void prefetch(SequenceRange range);

  /// Sequences in one pass over all sources, rounded up.
  [[nodiscard]] int64_t sequences_per_epoch() const;
  /// A short hash of the sources' names, weights and contents (of large .bin files samples, see
  /// TokenFile): a resumed run refuses another corpus.
  [[nodiscard]] std::string fingerprint() const;

  /// What became of each source's rows, and how many sequences its samples fill; packing whole.
  struct Packed {
    std::string source;
    SampleReport report;
    int64_t sequences = 0;
  };
  [[nodiscard]] const std::vector<Packed>& packed() const;
  /// The samples that data.held_out set aside, one entry a source that has some. To be called once.
  [[nodiscard]] std::vector<HeldOut> take_held_out();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dsmoe::data
