#include "modules/continuation.h"

#include <algorithm>

namespace dsmoe::nn {

bool all_begin(std::span<const Continuation> parts) {
  return std::all_of(parts.begin(), parts.end(),
                     [](const Continuation& part) { return part.cache->length() == 0; });
}

Segments segments_of(std::span<const Continuation> parts) {
  std::vector<int64_t> starts{0};
  for (const Continuation& part : parts) starts.push_back(starts.back() + part.rows);
  return Segments(starts);
}

RopeTable angles_of(std::span<const Continuation> parts, const RopeTable& rope) {
  std::vector<at::Tensor> cos, sin;
  for (const Continuation& part : parts) {
    cos.push_back(rope.cos_TR.narrow(0, part.cache->length(), part.rows));
    sin.push_back(rope.sin_TR.narrow(0, part.cache->length(), part.rows));
  }
  return {at::cat(cos), at::cat(sin)};
}

std::vector<CachedSequence> remember(const at::Tensor& rows_NX, int64_t layer,
                                     std::span<const Continuation> parts) {
  std::vector<CachedSequence> cached;
  int64_t row = 0;
  for (const Continuation& part : parts) {
    const at::Tensor all_SX = part.cache->rows(layer, part.cache->length() + part.rows);
    all_SX.narrow(0, part.cache->length(), part.rows).copy_(rows_NX.narrow(0, row, part.rows));
    cached.push_back({all_SX, part.rows});
    row += part.rows;
  }
  return cached;
}

}  // namespace dsmoe::nn
