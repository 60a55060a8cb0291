#pragma once

#include <cstdint>

#include "modules/kernels/opmath.h"

namespace dsmoe::nn::kernels {

/// One AdamW step: g = gradient / divisor, w shrinks by `shrink`, then
/// w -= rate * m / (sqrt(v) / root + eps).
template <class A>
struct AdamW {
  A beta1;
  A beta2;
  A eps;
  A shrink;   // 1 - lr * weight decay
  A rate;     // lr / (1 - beta1^t)
  A root;     // sqrt(1 - beta2^t)
  A divisor;  // of the gradient
};

/// Row kernels on contiguous host memory, one thread each: the caller splits the rows over threads.
/// Built once per instruction set; `kernels<T>()` gives the set that this CPU runs.
template <class T>
struct KernelTable {
  /// y = x / sqrt(mean(x^2) + eps) * weight per row of `dim`; rstd gets the factor of each row.
  void (*rms_norm)(const T* x, const T* weight, T* y, opmath_t<T>* rstd, int64_t rows, int64_t dim,
                   double eps);
  /// dx is written, dweight [dim] is added to.
  void (*rms_norm_backward)(const T* dy, const T* x, const T* weight, const opmath_t<T>* rstd,
                            T* dx, opmath_t<T>* dweight, int64_t rows, int64_t dim);
  /// out = scale * silu(gate) * up per row, h = [gate | up] of 2 * width; scale may be null (ones).
  void (*swiglu)(const T* h, const opmath_t<T>* scale, T* out, int64_t rows, int64_t width);
  /// From dout: dh, and where scale is given dscale and again out = scale * silu(gate) * up.
  void (*swiglu_backward)(const T* dout, const T* h, const opmath_t<T>* scale, T* dh,
                          opmath_t<T>* dscale, T* out, int64_t rows, int64_t width);
  /// out[r] = sum of from[chosen[i]] over i in [offsets[r], offsets[r + 1]), in that order.
  void (*sum_rows)(const T* from, const int64_t* offsets, const int64_t* chosen, T* out,
                   int64_t rows, int64_t dim);
  /// Per row: loss = logsumexp(logits) - logits[target], and logits becomes softmax - onehot;
  /// target < 0: loss 0, gradient 0.
  void (*cross_entropy)(T* logits, const int64_t* targets, double* loss, int64_t rows,
                        int64_t vocab);
  /// Rotates the pairs (2i, 2i+1) of x by the angles cos, sin [pairs]; sign -1 turns back.
  void (*rotate_pairs)(T* x, const opmath_t<T>* cos, const opmath_t<T>* sin, int64_t pairs,
                       opmath_t<T> sign);
  /// into += from.
  void (*accumulate)(const T* from, opmath_t<T>* into, int64_t count);
  /// Updates masters and moments in one pass; `compute` gets the new weights in T, or is null.
  void (*adamw)(const AdamW<opmath_t<T>>& by, const opmath_t<T>* gradient, opmath_t<T>* weight,
                opmath_t<T>* first, opmath_t<T>* second, T* compute, int64_t count);
};

/// T: float, double, c10::BFloat16.
template <class T>
const KernelTable<T>& kernels();

}  // namespace dsmoe::nn::kernels
