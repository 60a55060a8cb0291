#include "data/packed_source.h"

#include <algorithm>

#include "configs/errors.h"
#include "data/shuffle.h"

namespace dsmoe::data {
namespace {

constexpr size_t kEpochsKept = 2;
constexpr int64_t kDocumentOrder = 0;
constexpr int64_t kRowOrder = 1;

}  // namespace

PackedSource::PackedSource(const std::string& name, Corpus corpus, int64_t sequence_length,
                           int64_t seed, int64_t source)
    : corpus_(std::move(corpus)),
      length_(sequence_length),
      seed_(seed),
      source_(source),
      rows_((corpus_.num_tokens() - 1) / sequence_length) {
  if (rows_ < 1) {
    throw DataError(name + ": its " + std::to_string(corpus_.num_tokens()) +
                    " tokens are fewer than one sequence needs (data.sequence_length " +
                    std::to_string(length_) +
                    " + 1)\nhint: lower data.sequence_length to at most " +
                    std::to_string(corpus_.num_tokens() - 1) + ", or give more text");
  }
}

Epoch PackedSource::make_epoch(int64_t number) const {
  Epoch epoch;
  epoch.documents =
      permutation(corpus_.num_documents(), make_key({seed_, source_, number, kDocumentOrder}));
  epoch.starts.reserve(epoch.documents.size() + 1);
  epoch.starts.push_back(0);
  for (const int64_t document : epoch.documents) {
    epoch.starts.push_back(epoch.starts.back() + corpus_.length(document));
  }
  epoch.rows = permutation(rows_, make_key({seed_, source_, number, kRowOrder}));
  return epoch;
}

const Epoch& PackedSource::epoch(int64_t number) {
  const auto found = std::find_if(epochs_.begin(), epochs_.end(),
                                  [&](const auto& entry) { return entry.first == number; });
  if (found != epochs_.end()) {
    std::rotate(found, found + 1, epochs_.end());
    return epochs_.back().second;
  }
  if (epochs_.size() == kEpochsKept) {
    epochs_.erase(epochs_.begin());
  }
  return epochs_.emplace_back(number, make_epoch(number)).second;
}

std::vector<int64_t> PackedSource::read(int64_t index, int64_t* out) {
  const Epoch& pass = epoch(index / rows_);
  const int64_t first = pass.rows[static_cast<size_t>(index % rows_)] * length_;
  const auto after = std::upper_bound(pass.starts.begin(), pass.starts.end(), first);
  auto at = static_cast<size_t>(after - pass.starts.begin()) - 1;
  std::vector<int64_t> begins;
  for (int64_t done = 0; done <= length_; ++at) {
    const int64_t start = pass.starts[at];
    const int64_t position = first + done;
    if (position == start && done > 0) begins.push_back(done);
    const int64_t count = std::min(length_ + 1 - done, pass.starts[at + 1] - position);
    corpus_.copy(corpus_.start(pass.documents[at]) + position - start, count, out + done);
    done += count;
  }
  return begins;
}

}  // namespace dsmoe::data
