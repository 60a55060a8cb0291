#include "modules/router_variation.h"

#include <cmath>

#include "configs/split_mix.h"
#include "modules/row_loop.h"

namespace dsmoe::nn {
namespace {

using config::kGoldenGamma;
using config::split_mix;

/// Where the noise of a row begins.
uint64_t row_key(const RouterVariation& variation, int64_t layer, int64_t row, int64_t length) {
  const uint64_t sequence = variation.keys[static_cast<size_t>(row / length)];
  const uint64_t place = split_mix(sequence + static_cast<uint64_t>(layer) * kGoldenGamma);
  return split_mix(place + static_cast<uint64_t>(row % length) * kGoldenGamma);
}

/// Uniform in [-1, 1).
double signed_unit(uint64_t bits) { return std::ldexp(static_cast<double>(bits >> 11), -52) - 1.0; }

at::Tensor noise_like(const at::Tensor& u_NM, int64_t layer, const RouterVariation& variation) {
  const int64_t rows = u_NM.size(0);
  const int64_t width = u_NM.size(1);
  const int64_t length = rows / static_cast<int64_t>(variation.keys.size());
  at::Tensor noise_NM = at::empty({rows, width}, u_NM.scalar_type());
  AT_DISPATCH_FLOATING_TYPES(noise_NM.scalar_type(), "router jitter", [&] {
    auto* const noise = noise_NM.mutable_data_ptr<scalar_t>();
    for_rows(rows, width, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        uint64_t state = row_key(variation, layer, n, length);
        for (int64_t m = 0; m < width; ++m) {
          state += kGoldenGamma;
          noise[n * width + m] =
              static_cast<scalar_t>(1.0 + variation.jitter * signed_unit(split_mix(state)));
        }
      }
    });
  });
  return noise_NM;
}

/// The groups that a token's experts are dealt out over, and those it reaches.
struct Deal {
  int64_t groups;
  int64_t reached;
  int64_t size;  // experts of a group

  explicit Deal(const config::ModelConfig& config)
      : groups(config.topk_method == config::TopkMethod::kGreedy ? 1 : config.n_group),
        reached(std::min(groups, config.topk_group)),
        size(config.n_routed_experts / groups) {}

  /// The k-th expert of the run's token `turn`: groups change fastest, then experts of a group.
  [[nodiscard]] int64_t expert(int64_t turn, int64_t k) const {
    const int64_t group = (turn + k % reached) % groups;
    return group * size + (turn / groups + k / reached) % size;
  }
};

}  // namespace

at::Tensor jittered(const at::Tensor& u_NM, int64_t layer, const RouterVariation& variation) {
  if (variation.jitter == 0 || variation.keys.empty()) return u_NM;
  return u_NM * noise_like(u_NM, layer, variation).to(u_NM.device());
}

at::Tensor balanced_experts(int64_t rows, const RouterVariation& variation,
                            const config::ModelConfig& config) {
  const Deal deal(config);
  const int64_t choices = config.num_experts_per_tok;
  at::Tensor experts_NK = at::empty({rows, choices}, at::kLong);
  if (rows == 0) return experts_NK;
  const int64_t length = rows / static_cast<int64_t>(variation.numbers.size());
  auto* const experts = experts_NK.mutable_data_ptr<int64_t>();
  for (int64_t n = 0; n < rows; ++n) {
    const int64_t turn = variation.numbers[static_cast<size_t>(n / length)] * length + n % length;
    for (int64_t k = 0; k < choices; ++k) experts[n * choices + k] = deal.expert(turn, k);
  }
  return experts_NK;
}

}  // namespace dsmoe::nn
