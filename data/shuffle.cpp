#include "data/shuffle.h"

#include <cstddef>
#include <numeric>
#include <utility>

namespace dsmoe::data {
namespace {

// Constants of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
// OOPSLA 2014.
constexpr uint64_t kGolden = 0x9E3779B97F4A7C15U;

uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

}  // namespace

uint64_t make_key(std::initializer_list<int64_t> parts) {
  uint64_t key = 0;
  for (const int64_t part : parts) {
    key = mix(key + kGolden + mix(static_cast<uint64_t>(part) + kGolden));
  }
  return key;
}

std::vector<int64_t> permutation(int64_t n, uint64_t key) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t remaining = order.size(); remaining > 1; --remaining) {
    key += kGolden;
    // The modulo's bias is at most n / 2^64.
    std::swap(order[remaining - 1], order[mix(key) % remaining]);
  }
  return order;
}

}  // namespace dsmoe::data
