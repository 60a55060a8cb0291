#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

namespace dsmoe::data {

/// One 64-bit key out of several integers, each of which changes it entirely (SplitMix64's
/// finaliser, chained).
[[nodiscard]] uint64_t make_key(std::initializer_list<int64_t> parts);

/// The numbers 0 .. n-1 in an order that depends on `key` and n alone, the same on every machine:
/// Fisher-Yates over the SplitMix64 stream that starts at `key`.
[[nodiscard]] std::vector<int64_t> permutation(int64_t n, uint64_t key);

}  // namespace dsmoe::data
