#pragma once

#include <cstdint>

#include "configs/run_config.h"
#include "data/loader.h"
#include "parallel/topology.h"

namespace dsmoe::train {

/// How one global batch is cut. An expert-parallel group takes expert_size * micro consecutive
/// sequences at a time, of which each of its ranks takes `micro` consecutive ones; a replica takes
/// a contiguous run of such pieces. So whole pools meet in one group at one time.
struct BatchCut {
  int64_t first = 0;      ///< global number of the batch's first sequence
  int64_t sequences = 0;  ///< of the whole batch; need not divide evenly
  int64_t micro = 1;
  int64_t multiple = 1;  ///< of micro-batches, which a pipeline's schedule may ask for
};

/// The cut of a batch that begins with sequence `first`.
[[nodiscard]] BatchCut cut_batch(const config::RunConfig& config, int64_t first, int64_t sequences);

/// Micro-batches that every rank runs: the largest number any rank needs, and where a multiple is
/// asked for, empty ones behind it.
[[nodiscard]] int64_t num_micro_batches(const BatchCut& cut, const parallel::Topology& topology);

/// The sequences of this rank's micro-batch `index`; may be empty.
[[nodiscard]] data::SequenceRange micro_batch(const BatchCut& cut,
                                              const parallel::Topology& topology, int64_t index);

}  // namespace dsmoe::train
