#pragma once

#include <cstdint>

#include "modules/kernels/opmath.h"

namespace dsmoe::nn::kernels {

/// One head of one sequence, as the projections leave it; strides count elements.
template <class T>
struct AttentionHead {
  int64_t length;  // T, positions 0 .. T-1
  int64_t nope;    // d_h
  int64_t rope;    // d_h^R
  int64_t value;   // width of v
  opmath_t<T> scale;
  const T* query;  // [T, nope + rope], not rotated yet
  int64_t query_stride;
  const T* kv;  // [T, nope + value]
  int64_t kv_stride;
  const T* rope_key;         // [T, rope], contiguous, rotated
  const opmath_t<T>* cos;    // [T, rope / 2]
  const opmath_t<T>* sin;    // [T, rope / 2]
  int64_t out_stride;        // of out and dout, [T, value]
  opmath_t<T>* log_sum_exp;  // [T]
};

template <class T>
struct AttentionGradient {
  const T* out;
  const T* dout;
  T* dquery;  // stride as query
  T* dkv;
  int64_t dkv_stride;
  opmath_t<T>* drope_key;  // [T, rope], contiguous: this head's part, still rotated
};

/// Causal attention of one head without a T x T matrix, V2 (14), (16)-(18): one thread, host
/// memory. Work that lies above the diagonal is left out. `workspace` holds
/// `workspace_size(length, nope + rope, value)` numbers, aligned to 64 bytes.
template <class T>
struct AttentionTable {
  int64_t (*workspace_size)(int64_t length, int64_t key_width, int64_t value_width);
  void (*forward)(const AttentionHead<T>& head, T* out, opmath_t<T>* workspace);
  void (*backward)(const AttentionHead<T>& head, const AttentionGradient<T>& gradient,
                   opmath_t<T>* workspace);
};

/// T: float, double, c10::BFloat16. Built once per instruction set, as `kernels<T>()`.
template <class T>
const AttentionTable<T>& attention();

}  // namespace dsmoe::nn::kernels
