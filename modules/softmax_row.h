#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace dsmoe::nn {

/// log(sum(exp(logits))) of a row whose softmax is known: one logarithm and no exponential.
template <class T>
[[nodiscard]] T log_sum_exp(const T* logits, const T* softmax, int64_t count) {
  const int64_t top = std::max_element(softmax, softmax + count) - softmax;
  return logits[top] - std::log(softmax[top]);
}

}  // namespace dsmoe::nn
