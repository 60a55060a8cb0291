#pragma once

#include "configs/run_config.h"
#include "parallel/communicator.h"
#include "trainer/plan_work.h"

namespace dsmoe::train {

// Small measurements on this rank, with the threads in use, over times in which ranks that share
// cores have had their turns. Local, but for the last.

/// Seconds of one product. Operands lie in different memory from call to call, as those of
/// different layers and experts do.
[[nodiscard]] double probe_product(const ProductWork& product, config::Precision precision);

/// Seconds of the attention core on a micro-batch of the configuration.
struct AttentionSeconds {
  double forward = 0;
  double backward = 0;
};
[[nodiscard]] AttentionSeconds probe_attention(const config::RunConfig& config);

/// Bytes/s of AdamW updates on large arrays.
[[nodiscard]] double probe_memory();

/// Bytes/s of norms, sums and SwiGLU on a micro-batch's activations.
[[nodiscard]] double probe_activations(const config::RunConfig& config);

/// Seconds of a call of LibTorch on next to nothing, with the graph that it leaves.
[[nodiscard]] double probe_operation();

/// How many times as long ranks take that compute some milliseconds between barriers as ranks that
/// do the same work without meeting: who waits leaves a shared core to others. The same on every
/// rank. Collective.
[[nodiscard]] double probe_stragglers(parallel::Communicator& world);

}  // namespace dsmoe::train
