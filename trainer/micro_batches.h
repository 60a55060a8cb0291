#pragma once

#include <cstdint>

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
};

/// Micro-batches that every rank runs: the largest number any rank needs.
[[nodiscard]] int64_t num_micro_batches(const BatchCut& cut, const parallel::Topology& topology);

/// The sequences of this rank's micro-batch `index`; may be empty.
[[nodiscard]] data::SequenceRange micro_batch(const BatchCut& cut,
                                              const parallel::Topology& topology, int64_t index);

}  // namespace dsmoe::train
