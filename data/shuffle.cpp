#include "data/shuffle.h"

#include <cstddef>
#include <numeric>
#include <utility>

#include "configs/split_mix.h"

namespace dsmoe::data {

using config::kGoldenGamma;
using config::split_mix;

uint64_t make_key(std::initializer_list<int64_t> parts) {
  uint64_t key = 0;
  for (const int64_t part : parts) {
    key = split_mix(key + kGoldenGamma + split_mix(static_cast<uint64_t>(part) + kGoldenGamma));
  }
  return key;
}

std::vector<int64_t> permutation(int64_t n, uint64_t key) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t remaining = order.size(); remaining > 1; --remaining) {
    key += kGoldenGamma;
    // The modulo's bias is at most n / 2^64.
    std::swap(order[remaining - 1], order[split_mix(key) % remaining]);
  }
  return order;
}

}  // namespace dsmoe::data
