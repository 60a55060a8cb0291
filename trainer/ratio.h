#pragma once

#include <cstdint>

namespace dsmoe::train {

/// a / b, and 0 for nothing of nothing.
inline double ratio(double a, int64_t b) { return b == 0 ? 0.0 : a / static_cast<double>(b); }
inline double ratio(int64_t a, int64_t b) { return ratio(static_cast<double>(a), b); }

}  // namespace dsmoe::train
