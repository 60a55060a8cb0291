#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/sample_set.h"

namespace dsmoe::data {

/// Where the numbers of one row of a batch are written, T of each.
struct RowOut {
  int64_t* inputs;
  int64_t* targets;
  float* weights;
  bool* valid;
};

/// A source's rows by number, each made of whole samples side by side and then padding: a pure
/// function of (samples, T, seed, source, number). Which samples share a row is settled once (best
/// fit, longest first, equal ones shuffled); the order of the rows is another in every epoch. A
/// sample of n tokens takes n - 1 positions. Not thread-safe.
class WholeSource {
 public:
  /// padding: the id that stands on padding. Expects samples of at most T + 1 tokens.
  WholeSource(SampleSet samples, int64_t sequence_length, int64_t padding, int64_t seed,
              int64_t source);

  [[nodiscard]] const SampleSet& samples() const { return samples_; }
  [[nodiscard]] int64_t sequences_per_epoch() const { return static_cast<int64_t>(rows_.size()); }

  /// Writes row `index` (from 0, any number of epochs). Returns where each sample begins in it,
  /// ascending from 0, and then the padding if there is any.
  std::vector<int64_t> read(int64_t index, const RowOut& out);

 private:
  void pack(uint64_t key);
  const std::vector<int64_t>& order(int64_t epoch);
  void write(int64_t sample, int64_t at, const RowOut& out) const;

  SampleSet samples_;
  int64_t length_;
  int64_t padding_;
  int64_t seed_;
  int64_t source_;
  std::vector<std::vector<int64_t>> rows_;                  ///< the samples of each
  std::pair<int64_t, std::vector<int64_t>> order_{-1, {}};  ///< of the epoch used last
};

}  // namespace dsmoe::data
