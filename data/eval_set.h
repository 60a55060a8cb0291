#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/token_batch.h"
#include "data/tokenizer.h"

namespace dsmoe::data {

/// Windows of held-out documents, every token after BOS predicted exactly once (design 8.7): a
/// document longer than the window goes on in windows that overlap by one token. Rows are padded to
/// the longest of their batch.
class EvalSet {
 public:
  /// window: predicted tokens per row. Throws DataError on a missing, empty or malformed file.
  EvalSet(const std::string& path, const Tokenizer& tokenizer, int64_t window);

  [[nodiscard]] int64_t num_windows() const;
  /// Rows [begin, end), clipped to num_windows().
  [[nodiscard]] TokenBatch load(int64_t begin, int64_t end) const;
  /// UTF-8 bytes of text whose last token is predicted within windows [0, end): the denominator of
  /// bits per byte.
  [[nodiscard]] int64_t text_bytes(int64_t end) const;

 private:
  struct Window {
    int64_t document;
    int64_t begin;
    int64_t length;
  };
  std::vector<std::vector<int64_t>> documents_;
  std::vector<int64_t> document_bytes_;
  std::vector<Window> windows_;
};

}  // namespace dsmoe::data
