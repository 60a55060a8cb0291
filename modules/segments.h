#pragma once

#include <cstdint>
#include <vector>

namespace dsmoe::nn {

/// Runs of consecutive rows, each of them a sequence to attention and to the balance losses: whole
/// rows of a batch, or under `data.document_mask` the pieces of documents in them. Positions count
/// from 0 in each.
class Segments {
 public:
  /// None, of no rows.
  Segments() = default;
  /// starts: first row of each, ascending from 0, and the number of rows behind them.
  explicit Segments(std::vector<int64_t> starts) : starts_(std::move(starts)) {}
  /// `count` segments of `length` rows each.
  [[nodiscard]] static Segments uniform(int64_t count, int64_t length);

  [[nodiscard]] int64_t count() const { return static_cast<int64_t>(starts_.size()) - 1; }
  [[nodiscard]] int64_t rows() const { return starts_.back(); }
  [[nodiscard]] int64_t start(int64_t i) const { return starts_[static_cast<size_t>(i)]; }
  [[nodiscard]] int64_t length(int64_t i) const { return start(i + 1) - start(i); }
  [[nodiscard]] int64_t longest() const;
  /// The segment that holds a row.
  [[nodiscard]] int64_t at(int64_t row) const;
  /// count() + 1 numbers.
  [[nodiscard]] const std::vector<int64_t>& starts() const { return starts_; }

 private:
  std::vector<int64_t> starts_{0};
};

}  // namespace dsmoe::nn
