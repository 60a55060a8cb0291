#pragma once

#include <c10/util/BFloat16.h>

namespace dsmoe::nn::kernels {

/// The type in which a kernel for T computes and keeps statistics.
template <class T>
struct Opmath {
  using type = T;
};
template <>
struct Opmath<c10::BFloat16> {
  using type = float;
};
template <class T>
using opmath_t = typename Opmath<T>::type;

}  // namespace dsmoe::nn::kernels
