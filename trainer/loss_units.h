#pragma once

#include <cstdint>

#include "configs/run_config.h"
#include "data/token_batch.h"
#include "modules/loss_units.h"
#include "parallel/communicator.h"

namespace dsmoe::train {

/// What attention takes for a sequence in these rows: each of them, or the documents in them.
[[nodiscard]] nn::Segments segments_of(const data::TokenBatch& batch);

/// The pool of a sequence: its place in the global batch / batch.pool.
[[nodiscard]] int64_t pool_of(int64_t sequence_number, int64_t first_sequence,
                              const config::BatchConfig& batch);

/// The units of balance.scope in a micro-batch, numbered within what has them together: the
/// micro-batch, the expert group's (pools), or the step (global_batch, one unit). first_sequence:
/// the global batch's. Collective over ep where pools may span ranks.
[[nodiscard]] nn::LossUnits loss_units(const data::TokenBatch& batch, int64_t first_sequence,
                                       const config::RunConfig& config, parallel::Communicator& ep);

/// Units of the whole step with a token that is not padding. Collective over world.
[[nodiscard]] int64_t count_units(const std::vector<data::TokenBatch>& batches,
                                  int64_t first_sequence, const config::RunConfig& config,
                                  parallel::Communicator& world);

}  // namespace dsmoe::train
