#pragma once

#include <cstdint>

#include "configs/run_config.h"
#include "data/token_batch.h"
#include "modules/token_drop.h"

namespace dsmoe::train {

/// Whether a sequence is never dropped: hash(seed, number) < fraction * 2^64, so that about that
/// share is protected, the same on any layout and anew for every sequence.
[[nodiscard]] bool is_protected(int64_t seed, int64_t sequence_number, double fraction);

/// Pools, protection and documents of a training micro-batch. first_sequence: the global batch's
/// first one.
[[nodiscard]] nn::SequenceInfo sequence_info(const data::TokenBatch& batch, int64_t first_sequence,
                                             const config::RunConfig& config);

}  // namespace dsmoe::train
