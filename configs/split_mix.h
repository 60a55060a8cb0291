#pragma once

#include <cstdint>

namespace dsmoe::config {

// Of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
// 2014. What must be the same on any layout of ranks is drawn from hashes of its number.

/// The step of the generator's state.
inline constexpr uint64_t kGoldenGamma = 0x9E3779B97F4A7C15U;

/// The generator's finaliser: every bit of z reaches every bit of the result.
[[nodiscard]] constexpr uint64_t split_mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

}  // namespace dsmoe::config
