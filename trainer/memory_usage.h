#pragma once

#include <cstdint>

namespace dsmoe::train {

/// Resident memory of this process in bytes, from /proc/self/status; 0 where that is not there.
[[nodiscard]] int64_t resident_bytes();
/// The most it ever was.
[[nodiscard]] int64_t peak_resident_bytes();

}  // namespace dsmoe::train
