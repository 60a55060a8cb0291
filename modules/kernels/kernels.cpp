// Plain loops that the compiler vectorises, built once per instruction set into namespace
// DSMOE_ISA.
#include <algorithm>
#include <cmath>

#include "modules/kernels/kernel_table.h"
#include "modules/kernels/rotate.h"

namespace dsmoe::nn::kernels::DSMOE_ISA {
namespace {

template <class T>
using acc = opmath_t<T>;

template <class T>
acc<T> load(const T& value) {
  return static_cast<acc<T>>(value);
}

template <class T>
acc<T> sigmoid(acc<T> x) {
  return acc<T>(1) / (acc<T>(1) + std::exp(-x));
}

template <class T>
void rms_norm(const T* x, const T* weight, T* y, acc<T>* rstd, int64_t rows, int64_t dim,
              double eps) {
  for (int64_t r = 0; r < rows; ++r, x += dim, y += dim) {
    acc<T> sum = 0;
    for (int64_t i = 0; i < dim; ++i) sum += load(x[i]) * load(x[i]);
    const acc<T> scale = acc<T>(1) / std::sqrt(sum / acc<T>(dim) + acc<T>(eps));
    rstd[r] = scale;
    for (int64_t i = 0; i < dim; ++i) y[i] = T(load(x[i]) * scale * load(weight[i]));
  }
}

template <class T>
void rms_norm_backward(const T* dy, const T* x, const T* weight, const acc<T>* rstd, T* dx,
                       acc<T>* dweight, int64_t rows, int64_t dim) {
  for (int64_t r = 0; r < rows; ++r, x += dim, dy += dim, dx += dim) {
    const acc<T> scale = rstd[r];
    acc<T> dot = 0;
    for (int64_t i = 0; i < dim; ++i) dot += load(dy[i]) * load(weight[i]) * load(x[i]);
    const acc<T> shift = dot * scale * scale / acc<T>(dim);
    for (int64_t i = 0; i < dim; ++i) {
      dweight[i] += load(dy[i]) * load(x[i]) * scale;
      dx[i] = T(scale * (load(dy[i]) * load(weight[i]) - load(x[i]) * shift));
    }
  }
}

template <class T>
void swiglu(const T* h, const acc<T>* scale, T* out, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r, h += 2 * width, out += width) {
    const acc<T> s = scale == nullptr ? acc<T>(1) : scale[r];
    for (int64_t i = 0; i < width; ++i) {
      const acc<T> gate = load(h[i]);
      out[i] = T(s * gate * sigmoid<T>(gate) * load(h[width + i]));
    }
  }
}

template <class T>
void swiglu_backward(const T* dout, const T* h, const acc<T>* scale, T* dh, acc<T>* dscale, T* out,
                     int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r, h += 2 * width, dh += 2 * width, dout += width) {
    const acc<T> s = scale == nullptr ? acc<T>(1) : scale[r];
    acc<T> dot = 0;
    for (int64_t i = 0; i < width; ++i) {
      const acc<T> gate = load(h[i]);
      const acc<T> up = load(h[width + i]);
      const acc<T> sig = sigmoid<T>(gate);
      const acc<T> act = gate * sig;
      const acc<T> d = load(dout[i]);
      dot += d * act * up;
      dh[i] = T(s * d * up * sig * (acc<T>(1) + gate - act));
      dh[width + i] = T(s * d * act);
    }
    if (scale == nullptr) continue;
    dscale[r] = dot;
    for (int64_t i = 0; i < width; ++i) {
      const acc<T> gate = load(h[i]);
      out[i] = T(s * gate * sigmoid<T>(gate) * load(h[width + i]));
    }
    out += width;
  }
}

template <class T>
void sum_rows(const T* from, const int64_t* offsets, const int64_t* chosen, T* out, int64_t rows,
              int64_t dim) {
  constexpr int64_t kPiece = 64;
  for (int64_t r = 0; r < rows; ++r, out += dim) {
    for (int64_t begin = 0; begin < dim; begin += kPiece) {
      const int64_t width = std::min(kPiece, dim - begin);
      acc<T> sum[kPiece] = {};
      for (int64_t i = offsets[r]; i < offsets[r + 1]; ++i) {
        const T* row = from + chosen[i] * dim + begin;
        for (int64_t j = 0; j < width; ++j) sum[j] += load(row[j]);
      }
      for (int64_t j = 0; j < width; ++j) out[begin + j] = T(sum[j]);
    }
  }
}

template <class T>
void cross_entropy(T* logits, const int64_t* targets, double* loss, int64_t rows, int64_t vocab) {
  for (int64_t r = 0; r < rows; ++r, logits += vocab) {
    loss[r] = 0;
    if (targets[r] < 0) {
      std::fill(logits, logits + vocab, T(0));
      continue;
    }
    acc<T> top = load(logits[0]);
    for (int64_t i = 1; i < vocab; ++i) top = std::max(top, load(logits[i]));
    const acc<T> target = load(logits[targets[r]]) - top;
    acc<T> sum = 0;
    for (int64_t i = 0; i < vocab; ++i) sum += std::exp(load(logits[i]) - top);
    const acc<T> inverse = acc<T>(1) / sum;
    for (int64_t i = 0; i < vocab; ++i) logits[i] = T(std::exp(load(logits[i]) - top) * inverse);
    logits[targets[r]] = T(load(logits[targets[r]]) - acc<T>(1));
    loss[r] = std::log(static_cast<double>(sum)) - static_cast<double>(target);
  }
}

template <class T>
void accumulate(const T* from, acc<T>* into, int64_t count) {
  for (int64_t i = 0; i < count; ++i) into[i] += load(from[i]);
}

template <class T>
void adamw(const AdamW<acc<T>>& by, const acc<T>* gradient, acc<T>* weight, acc<T>* first,
           acc<T>* second, T* compute, int64_t count) {
  const AdamW<acc<T>> k = by;
  for (int64_t i = 0; i < count; ++i) {
    const acc<T> g = gradient[i] / k.divisor;
    const acc<T> m = k.beta1 * first[i] + (acc<T>(1) - k.beta1) * g;
    const acc<T> v = k.beta2 * second[i] + (acc<T>(1) - k.beta2) * g * g;
    weight[i] = k.shrink * weight[i] - k.rate * m / (std::sqrt(v) / k.root + k.eps);
    first[i] = m;
    second[i] = v;
  }
  if (compute == nullptr) return;
  for (int64_t i = 0; i < count; ++i) compute[i] = T(weight[i]);
}

template <class T>
constexpr KernelTable<T> kTable{rms_norm<T>,        rms_norm_backward<T>, swiglu<T>,
                                swiglu_backward<T>, sum_rows<T>,          cross_entropy<T>,
                                rotate_pairs<T>,    accumulate<T>,        adamw<T>};

}  // namespace

const KernelTable<float>& table(float) { return kTable<float>; }
const KernelTable<double>& table(double) { return kTable<double>; }
const KernelTable<c10::BFloat16>& table(c10::BFloat16) { return kTable<c10::BFloat16>; }

}  // namespace dsmoe::nn::kernels::DSMOE_ISA
