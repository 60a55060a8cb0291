#pragma once

#include <ATen/Parallel.h>

#include <cstdint>

namespace dsmoe::nn {

/// Calls body(begin, end) on ranges of rows, over the threads of the calling process; rows are
/// grouped so that a range holds at least some 16K elements.
template <class Body>
void for_rows(int64_t rows, int64_t elements_per_row, const Body& body) {
  constexpr int64_t kElements = 1 << 14;
  const int64_t grain = elements_per_row > 0 ? 1 + kElements / elements_per_row : rows;
  at::parallel_for(0, rows, grain, body);
}

}  // namespace dsmoe::nn
