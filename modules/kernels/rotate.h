#pragma once

// Included by files that are built once per instruction set; DSMOE_ISA names that set.
#include <cstdint>

#include "modules/kernels/opmath.h"

namespace dsmoe::nn::kernels::DSMOE_ISA {

/// Rotates the pairs (2i, 2i+1) of x by the angles of one position; sign -1 turns back.
template <class T>
void rotate_pairs(T* x, const opmath_t<T>* cos, const opmath_t<T>* sin, int64_t pairs,
                  opmath_t<T> sign) {
  for (int64_t i = 0; i < pairs; ++i) {
    const auto a = static_cast<opmath_t<T>>(x[2 * i]);
    const auto b = static_cast<opmath_t<T>>(x[2 * i + 1]);
    x[2 * i] = T(a * cos[i] - sign * b * sin[i]);
    x[2 * i + 1] = T(b * cos[i] + sign * a * sin[i]);
  }
}

}  // namespace dsmoe::nn::kernels::DSMOE_ISA
