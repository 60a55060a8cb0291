#include "data/target_weights.h"

#include <algorithm>
#include <array>
#include <span>

namespace dsmoe::data {

void TargetWeights::append(const std::vector<float>& weights) {
  for (const float weight : weights) {
    if (weight > 0) {
      const bool goes_on =
          !runs_.empty() && runs_.back().end == tokens_ && runs_.back().weight == weight;
      if (goes_on) {
        ++runs_.back().end;
      } else {
        runs_.push_back({tokens_, tokens_ + 1, weight});
      }
      ++targets_;
      graded_ = graded_ || weight != 1;
    }
    ++tokens_;
  }
}

void TargetWeights::copy(int64_t position, int64_t count, float* out) const {
  std::fill_n(out, count, 0.0F);
  const int64_t end = position + count;
  auto run = std::partition_point(runs_.begin(), runs_.end(),
                                  [&](const Run& r) { return r.end <= position; });
  for (; run != runs_.end() && run->begin < end; ++run) {
    std::fill(out + std::max(run->begin, position) - position,
              out + std::min(run->end, end) - position, run->weight);
  }
}

void TargetWeights::add_to(Fingerprint& hash) const {
  for (const Run& run : runs_) {
    const std::array places{run.begin, run.end};
    hash.add(std::as_bytes(std::span(places)));
    hash.add(double{run.weight});
  }
}

}  // namespace dsmoe::data
