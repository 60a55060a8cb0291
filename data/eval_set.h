#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/sample_set.h"
#include "data/token_batch.h"
#include "data/tokenizer.h"

namespace dsmoe::data {

/// Windows of held-out documents, every token but a document's first predicted exactly once (design
/// 8.7); of conversations the answers' tokens alone. Texts stand between BOS and EOS; documents of
/// a .bin/.idx pair as they are: n tokens give n - 1 predictions, fewer than two give none. A
/// document longer than the window goes on in windows that overlap by one token, or with a smaller
/// stride by more: then each further window predicts `stride` new tokens behind window - stride
/// that it only reads. Rows are padded to the longest of their batch. Documents and windows stand
/// in the order of the file.
class EvalSet {
 public:
  /// window: predicted tokens per row, at least 1; stride: at most as many, 0: as many. Reads and
  /// decodes all tokens once. Throws DataError on a missing, empty or malformed file, and when
  /// there is nothing to predict.
  EvalSet(const std::string& path, const Tokenizer& tokenizer, int64_t window, int64_t stride = 0);
  /// Samples whose targets alone are predicted, whatever their weight.
  EvalSet(const std::string& name, SampleSet samples, const Tokenizer& tokenizer, int64_t window);

  [[nodiscard]] int64_t num_documents() const { return corpus_.num_documents(); }
  [[nodiscard]] int64_t num_windows() const;
  /// Predicted tokens of the longest window there may be.
  [[nodiscard]] int64_t window() const { return window_; }
  /// Rows [begin, end), clipped to num_windows(); sequence_numbers are the windows' numbers. On
  /// padding, inputs hold EOS, targets kNoTarget and valid_BT false; no row has padding before its
  /// last token. An empty range gives zero rows of `window` positions.
  [[nodiscard]] TokenBatch load(int64_t begin, int64_t end) const;
  /// Bytes of the text that windows [0, end) predict, as the tokenizer decodes it: the denominator
  /// of bits per byte. end is clipped to num_windows(); BOS and EOS stand for no bytes.
  [[nodiscard]] int64_t text_bytes(int64_t end) const;
  /// The same for the windows of one domain.
  [[nodiscard]] int64_t text_bytes(int64_t end, int64_t domain) const;

  /// Names of the domains that JSONL documents tell, in the order of the file; "" is one of them.
  [[nodiscard]] const std::vector<std::string>& domains() const { return domains_; }
  /// Index into domains() of a window's document.
  [[nodiscard]] int64_t domain(int64_t row) const {
    return windows_[static_cast<size_t>(row)].domain;
  }

 private:
  struct Window {
    int64_t position;    ///< of its first input, in the corpus
    int64_t length;      ///< inputs, and as many targets
    int64_t seen;        ///< leading targets that an earlier window predicted
    int64_t text_bytes;  ///< of what this one predicts
    int64_t domain;
  };
  void take(SampleSet samples);
  void read(const std::string& path, const Tokenizer& tokenizer);
  void add_document(const std::string& domain);
  void add_all_windows(const std::string& name, const Tokenizer& tokenizer);
  /// The tokens [begin, end) that are predicted.
  [[nodiscard]] std::vector<int64_t> predicted(int64_t begin, int64_t end) const;
  void add_windows(int64_t document, const Tokenizer& tokenizer);
  void mask(const Window& window, int64_t* targets) const;
  void write_row(const Window& window, int64_t width, int64_t* inputs, int64_t* targets,
                 bool* valid) const;

  Corpus corpus_;
  std::optional<TargetWeights> weights_{};  ///< none: every token is a target
  int64_t window_;
  int64_t stride_;
  int64_t padding_id_;
  std::vector<std::string> domains_{};
  std::map<std::string, int64_t> domain_indices_{};
  std::vector<int64_t> document_domains_;  ///< empty: all are of the first
  std::vector<Window> windows_;
};

}  // namespace dsmoe::data
