#include "data/whole_source.h"

#include <algorithm>
#include <set>

#include "data/shuffle.h"
#include "data/token_batch.h"

namespace dsmoe::data {
namespace {

constexpr int64_t kCompanions = 0;  // what a permutation is drawn for
constexpr int64_t kRowOrder = 1;

}  // namespace

WholeSource::WholeSource(SampleSet samples, int64_t sequence_length, int64_t padding, int64_t seed,
                         int64_t source)
    : samples_(std::move(samples)),
      length_(sequence_length),
      padding_(padding),
      seed_(seed),
      source_(source) {
  pack(make_key({seed_, source_, kCompanions}));
}

/// Longest first, each sample goes to the row that it leaves the least room in.
void WholeSource::pack(uint64_t key) {
  std::vector<int64_t> order = permutation(samples_.corpus.num_documents(), key);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return samples_.corpus.length(a) > samples_.corpus.length(b);
  });
  std::set<std::pair<int64_t, size_t>> room;  // left in a row, and the row
  for (const int64_t sample : order) {
    const int64_t positions = samples_.corpus.length(sample) - 1;
    const auto found = room.lower_bound({positions, 0});
    const bool fits = found != room.end();
    const size_t row = fits ? found->second : rows_.size();
    const int64_t left = (fits ? found->first : length_) - positions;
    if (fits) {
      room.erase(found);
    } else {
      rows_.emplace_back();
    }
    rows_[row].push_back(sample);
    if (left > 0) room.emplace(left, row);
  }
}

const std::vector<int64_t>& WholeSource::order(int64_t epoch) {
  if (order_.first != epoch) {
    order_ = {epoch,
              permutation(sequences_per_epoch(), make_key({seed_, source_, epoch, kRowOrder}))};
  }
  return order_.second;
}

void WholeSource::write(int64_t sample, int64_t at, const RowOut& out) const {
  const int64_t first = samples_.corpus.start(sample);
  const int64_t count = samples_.corpus.length(sample) - 1;
  samples_.corpus.copy(first, count, out.inputs + at);
  samples_.corpus.copy(first + 1, count, out.targets + at);
  samples_.weights.copy(first + 1, count, out.weights + at);
  for (int64_t i = at; i < at + count; ++i) {
    if (out.weights[i] == 0) out.targets[i] = kNoTarget;
  }
  std::fill_n(out.valid + at, count, true);
}

std::vector<int64_t> WholeSource::read(int64_t index, const RowOut& out) {
  const int64_t rows = sequences_per_epoch();
  const auto row = static_cast<size_t>(order(index / rows)[static_cast<size_t>(index % rows)]);
  std::vector<int64_t> begins;
  int64_t at = 0;
  for (const int64_t sample : rows_[row]) {
    begins.push_back(at);
    write(sample, at, out);
    at += samples_.corpus.length(sample) - 1;
  }
  if (at == length_) return begins;
  begins.push_back(at);
  std::fill(out.inputs + at, out.inputs + length_, padding_);
  std::fill(out.targets + at, out.targets + length_, kNoTarget);
  std::fill(out.weights + at, out.weights + length_, 0.0F);
  std::fill(out.valid + at, out.valid + length_, false);
  return begins;
}

}  // namespace dsmoe::data
