#include "trainer/sequence_info.h"

#include <cmath>

#include "trainer/loss_units.h"

namespace dsmoe::train {
namespace {

/// SplitMix64's finaliser: every input bit reaches every output bit.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

bool is_protected(int64_t seed, int64_t sequence_number, double fraction) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;
  const uint64_t hash = mix(mix(static_cast<uint64_t>(seed) + kGolden) +
                            static_cast<uint64_t>(sequence_number) * kGolden);
  return static_cast<double>(hash) < fraction * std::ldexp(1.0, 64);
}

nn::SequenceInfo sequence_info(const data::TokenBatch& batch, int64_t first_sequence,
                               const config::RunConfig& config) {
  nn::SequenceInfo info;
  info.valid_BT = batch.valid_BT;
  info.segments = segments_of(batch);
  const double fraction =
      config.drop.kind == config::DropKind::kNone ? 0.0 : config.drop.protected_fraction;
  for (const int64_t number : batch.sequence_numbers) {
    info.pools.push_back(pool_of(number, first_sequence, config.batch));
    info.protected_.push_back(is_protected(config.run.seed, number, fraction));
  }
  return info;
}

}  // namespace dsmoe::train
