#include "modules/input_dropout.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <c10/util/TypeCast.h>

#include <cmath>

#include "configs/split_mix.h"
#include "modules/dispatch_type.h"
#include "modules/row_loop.h"

namespace dsmoe::nn {
namespace {

using config::kGoldenGamma;
using config::split_mix;

constexpr int64_t kDraws = 4;  // of 16 bits each, in one hash

/// Zeros, and elsewhere `kept`. A draw below `limit` drops.
template <typename T>
void fill_row(T* mask, int64_t width, uint64_t state, uint64_t limit, T kept) {
  uint64_t bits = 0;
  for (int64_t i = 0; i < width; ++i, bits >>= 16) {
    if (i % kDraws == 0) bits = split_mix(state += kGoldenGamma);
    mask[i] = (bits & 0xFFFF) < limit ? T(0) : kept;
  }
}

at::Tensor mask_like(const at::Tensor& x_NI, const InputDropout& dropout,
                     std::span<const uint64_t> row_keys) {
  const int64_t width = x_NI.size(1);
  const auto limit = static_cast<uint64_t>(std::llround(std::ldexp(dropout.probability, 16)));
  at::Tensor mask_NI = at::empty({x_NI.size(0), width}, x_NI.scalar_type());
  DSMOE_DISPATCH(mask_NI, [&] {
    auto* const mask = mask_NI.mutable_data_ptr<scalar_t>();
    const double left = 1.0 - std::ldexp(static_cast<double>(limit), -16);
    const auto kept = c10::convert<scalar_t>(1.0 / left);
    for_rows(x_NI.size(0), width, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const uint64_t state = split_mix(row_keys[static_cast<size_t>(n)] ^ dropout.name);
        fill_row(mask + n * width, width, state, limit, kept);
      }
    });
  });
  return mask_NI;
}

}  // namespace

at::Tensor drop_inputs(const at::Tensor& x_NI, const InputDropout& dropout,
                       std::span<const uint64_t> row_keys) {
  if (dropout.probability == 0 || row_keys.empty()) return x_NI;
  TORCH_CHECK(static_cast<int64_t>(row_keys.size()) == x_NI.size(0), "dropout has ",
              row_keys.size(), " keys for ", x_NI.size(0), " rows");
  return x_NI * mask_like(x_NI, dropout, row_keys).to(x_NI.device());
}

}  // namespace dsmoe::nn
