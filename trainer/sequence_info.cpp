#include "trainer/sequence_info.h"

#include <cmath>

#include "configs/split_mix.h"
#include "trainer/lora.h"
#include "trainer/loss_units.h"

namespace dsmoe::train {
namespace {

using config::kGoldenGamma;
using config::split_mix;

/// What is drawn for a sequence of a run.
uint64_t sequence_hash(int64_t seed, int64_t sequence_number) {
  return split_mix(split_mix(static_cast<uint64_t>(seed) + kGoldenGamma) +
                   static_cast<uint64_t>(sequence_number) * kGoldenGamma);
}

nn::RouterVariation variation_of(const std::vector<int64_t>& numbers,
                                 const config::RunConfig& config) {
  nn::RouterVariation variation{config.router.jitter, config.router.force_balance, numbers, {}};
  for (const int64_t number : numbers) {
    variation.keys.push_back(split_mix(sequence_hash(config.run.seed, number) + kGoldenGamma));
  }
  return variation;
}

/// One for each row; none where nothing is dropped.
std::vector<uint64_t> row_keys(const data::TokenBatch& batch, const config::RunConfig& config) {
  std::vector<uint64_t> keys;
  if (!uses_lora(config) || config.finetune.lora.dropout == 0) return keys;
  for (const int64_t number : batch.sequence_numbers) {
    const uint64_t sequence = split_mix(sequence_hash(config.run.seed, number) + 2 * kGoldenGamma);
    for (int64_t t = 0; t < batch.inputs_BT.size(1); ++t) {
      keys.push_back(split_mix(sequence + static_cast<uint64_t>(t) * kGoldenGamma));
    }
  }
  return keys;
}

}  // namespace

bool is_protected(int64_t seed, int64_t sequence_number, double fraction) {
  const uint64_t hash = sequence_hash(seed, sequence_number);
  return static_cast<double>(hash) < fraction * std::ldexp(1.0, 64);
}

nn::SequenceInfo sequence_info(const data::TokenBatch& batch, int64_t first_sequence,
                               const config::RunConfig& config) {
  nn::SequenceInfo info;
  info.valid_BT = batch.valid_BT;
  info.segments = segments_of(batch);
  info.variation = variation_of(batch.sequence_numbers, config);
  info.row_keys = row_keys(batch, config);
  const double fraction =
      config.drop.kind == config::DropKind::kNone ? 0.0 : config.drop.protected_fraction;
  for (const int64_t number : batch.sequence_numbers) {
    info.pools.push_back(pool_of(number, first_sequence, config.batch));
    info.protected_.push_back(is_protected(config.run.seed, number, fraction));
  }
  return info;
}

}  // namespace dsmoe::train
