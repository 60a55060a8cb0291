#include "data/eval_set.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "configs/errors.h"

namespace dsmoe::data {

EvalSet::EvalSet(const std::string& path, const Tokenizer& tokenizer, int64_t window)
    : corpus_(read_corpus(path, tokenizer)), window_(window), padding_id_(tokenizer.eos()) {
  TORCH_CHECK(window >= 1, "an evaluation window predicts at least 1 token, not ", window);
  for (int64_t document = 0; document < num_documents(); ++document) {
    add_windows(document, tokenizer);
  }
  if (windows_.empty()) {
    throw DataError(path + ": nothing to predict in its " + std::to_string(num_documents()) +
                    " documents of " + std::to_string(corpus_.num_tokens()) +
                    " tokens together\nhint: a document predicts every token but its first");
  }
}

void EvalSet::add_windows(int64_t document, const Tokenizer& tokenizer) {
  const int64_t last = corpus_.start(document + 1) - 1;
  int64_t bytes = windows_.empty() ? 0 : windows_.back().text_bytes;
  for (int64_t position = corpus_.start(document); position < last; position += window_) {
    const int64_t length = std::min(window_, last - position);
    std::vector<int64_t> predicted(static_cast<size_t>(length));
    corpus_.copy(position + 1, length, predicted.data());
    bytes += static_cast<int64_t>(tokenizer.decode(predicted).size());
    windows_.push_back({position, length, bytes});
  }
}

int64_t EvalSet::num_windows() const { return static_cast<int64_t>(windows_.size()); }

int64_t EvalSet::text_bytes(int64_t end) const {
  const int64_t count = std::clamp<int64_t>(end, 0, num_windows());
  return count == 0 ? 0 : windows_[static_cast<size_t>(count - 1)].text_bytes;
}

TokenBatch EvalSet::load(int64_t begin, int64_t end) const {
  begin = std::clamp<int64_t>(begin, 0, num_windows());
  end = std::clamp(end, begin, num_windows());
  int64_t longest = begin == end ? window_ : 0;
  for (int64_t row = begin; row < end; ++row) {
    longest = std::max(longest, windows_[static_cast<size_t>(row)].length);
  }
  TokenBatch batch{at::empty({end - begin, longest}, at::kLong),
                   at::empty({end - begin, longest}, at::kLong),
                   at::empty({end - begin, longest}, at::kBool),
                   {}};
  auto* inputs = batch.inputs_BT.data_ptr<int64_t>();
  auto* targets = batch.targets_BT.data_ptr<int64_t>();
  auto* valid = batch.valid_BT.data_ptr<bool>();
  for (int64_t row = begin; row < end; ++row) {
    const Window& window = windows_[static_cast<size_t>(row)];
    const int64_t padding = longest - window.length;
    corpus_.copy(window.position, window.length, inputs);
    corpus_.copy(window.position + 1, window.length, targets);
    inputs = std::fill_n(inputs + window.length, padding, padding_id_);
    targets = std::fill_n(targets + window.length, padding, kNoTarget);
    valid = std::fill_n(std::fill_n(valid, window.length, true), padding, false);
    batch.sequence_numbers.push_back(row);
  }
  return batch;
}

}  // namespace dsmoe::data
