#include "data/eval_set.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <numeric>

#include "configs/codec.h"
#include "configs/errors.h"

namespace dsmoe::data {

EvalSet::EvalSet(const std::string& path, const Tokenizer& tokenizer, int64_t window,
                 int64_t stride)
    : corpus_(tokenizer.vocab_size()),
      window_(window),
      stride_(stride > 0 ? stride : window),
      padding_id_(tokenizer.eos()) {
  TORCH_CHECK(window >= 1 && stride_ <= window, "an evaluation window predicts at least 1 token, ",
              "and a stride is no longer: ", window, ", ", stride_);
  read(path, tokenizer);
  add_all_windows(path, tokenizer);
}

EvalSet::EvalSet(const std::string& name, SampleSet samples, const Tokenizer& tokenizer,
                 int64_t window)
    : corpus_(tokenizer.vocab_size()),
      window_(window),
      stride_(window),
      padding_id_(std::max<int64_t>(tokenizer.eos(), 0)) {
  take(std::move(samples));
  add_all_windows(name, tokenizer);
}

void EvalSet::add_all_windows(const std::string& name, const Tokenizer& tokenizer) {
  for (int64_t document = 0; document < num_documents(); ++document) {
    add_windows(document, tokenizer);
  }
  if (windows_.empty()) {
    throw DataError(name + ": nothing to predict in its " + std::to_string(num_documents()) +
                    " documents of " + std::to_string(corpus_.num_tokens()) +
                    " tokens together\nhint: a document predicts every token but its first");
  }
}

void EvalSet::add_document(const std::string& domain) {
  const auto next = static_cast<int64_t>(domains_.size());
  const auto [at, added] = domain_indices_.emplace(domain, next);
  if (added) domains_.push_back(domain);
  document_domains_.push_back(at->second);
}

void EvalSet::take(SampleSet samples) {
  corpus_ = std::move(samples.corpus);
  weights_ = std::move(samples.weights);
  for (const std::string& domain : samples.domains) add_document(domain);
}

void EvalSet::read(const std::string& path, const Tokenizer& tokenizer) {
  if (!token_file_prefix(path) && holds_conversations(path)) {
    config::DataSource source;
    source.path = path;
    config::DataConfig whole;
    whole.sequence_length = config::kLargestCount;  // longer ones go on in further windows
    return take(read_samples(source, whole, tokenizer).train);
  }
  corpus_ = read_corpus(path, tokenizer,
                        [&](const Document& document) { add_document(document.domain); });
  if (domains_.empty()) domains_.emplace_back();
}

std::vector<int64_t> EvalSet::predicted(int64_t begin, int64_t end) const {
  const auto count = static_cast<size_t>(end - begin);
  std::vector<int64_t> tokens(count);
  corpus_.copy(begin, end - begin, tokens.data());
  if (!weights_) return tokens;
  std::vector<float> weights(count);
  weights_->copy(begin, end - begin, weights.data());
  std::vector<int64_t> learned;
  for (size_t i = 0; i < count; ++i) {
    if (weights[i] > 0) learned.push_back(tokens[i]);
  }
  return learned;
}

void EvalSet::add_windows(int64_t document, const Tokenizer& tokenizer) {
  const int64_t domain =
      document_domains_.empty() ? 0 : document_domains_[static_cast<size_t>(document)];
  const int64_t first = corpus_.start(document);
  const int64_t last = corpus_.start(document + 1) - 1;
  for (int64_t next = first; next < last;) {
    const int64_t added = next == first ? window_ : stride_;
    const int64_t end = std::min(next + added, last);
    const int64_t position = std::max(first, next - (window_ - stride_));
    const std::vector<int64_t> targets = predicted(next + 1, end + 1);
    if (!targets.empty()) {
      windows_.push_back({position, end - position, next - position,
                          static_cast<int64_t>(tokenizer.decode(targets).size()), domain});
    }
    next = end;
  }
}

int64_t EvalSet::num_windows() const { return static_cast<int64_t>(windows_.size()); }

int64_t EvalSet::text_bytes(int64_t end) const {
  int64_t bytes = 0;
  const auto domains = static_cast<int64_t>(domains_.size());
  for (int64_t d = 0; d < domains; ++d) bytes += text_bytes(end, d);
  return bytes;
}

int64_t EvalSet::text_bytes(int64_t end, int64_t domain) const {
  const int64_t count = std::clamp<int64_t>(end, 0, num_windows());
  return std::accumulate(windows_.begin(), windows_.begin() + count, int64_t{0},
                         [&](int64_t bytes, const Window& window) {
                           return bytes + (window.domain == domain ? window.text_bytes : 0);
                         });
}

void EvalSet::mask(const Window& window, int64_t* targets) const {
  std::vector<float> weights(static_cast<size_t>(window.length));
  weights_->copy(window.position + 1, window.length, weights.data());
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) targets[i] = kNoTarget;
  }
}

void EvalSet::write_row(const Window& window, int64_t width, int64_t* inputs, int64_t* targets,
                        bool* valid) const {
  corpus_.copy(window.position, window.length, inputs);
  std::fill(inputs + window.length, inputs + width, padding_id_);
  corpus_.copy(window.position + 1, window.length, targets);
  if (weights_) mask(window, targets);
  std::fill_n(targets, window.seen, kNoTarget);
  std::fill(targets + window.length, targets + width, kNoTarget);
  std::fill_n(valid, window.length, true);
  std::fill(valid + window.length, valid + width, false);
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
  for (int64_t row = begin; row < end; ++row) {
    const int64_t at = (row - begin) * longest;
    write_row(windows_[static_cast<size_t>(row)], longest, batch.inputs_BT.data_ptr<int64_t>() + at,
              batch.targets_BT.data_ptr<int64_t>() + at, batch.valid_BT.data_ptr<bool>() + at);
    batch.sequence_numbers.push_back(row);
  }
  return batch;
}

}  // namespace dsmoe::data
