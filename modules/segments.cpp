#include "modules/segments.h"

#include <algorithm>

namespace dsmoe::nn {

Segments Segments::uniform(int64_t count, int64_t length) {
  std::vector<int64_t> starts;
  for (int64_t i = 0; i <= count; ++i) starts.push_back(i * length);
  return Segments(std::move(starts));
}

int64_t Segments::longest() const {
  int64_t longest = 0;
  for (int64_t i = 0; i < count(); ++i) longest = std::max(longest, length(i));
  return longest;
}

int64_t Segments::at(int64_t row) const {
  return std::upper_bound(starts_.begin(), starts_.end(), row) - starts_.begin() - 1;
}

}  // namespace dsmoe::nn
