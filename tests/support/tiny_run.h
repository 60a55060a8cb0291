#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "configs/run_config.h"
#include "parallel/communicator.h"
#include "trainer/step_report.h"

namespace dsmoe::test {

/// A run of every mechanism at the smallest size: query compression, unequal head widths, a dense
/// layer, two MoE layers of 8 experts in 4 groups, all balance losses, dropping. fp64, one thread.
[[nodiscard]] config::RunConfig tiny_run();

/// What the batches of a test look like beyond random tokens.
struct TinyBatches {
  int64_t sequences = 8;
  bool padded = false;     ///< sequences of different length, one of them empty
  bool starved = false;    ///< router weights under which half of the experts are never chosen
  bool biased = false;     ///< correction biases of either sign
  bool documents = false;  ///< rows of one to three documents each
};

struct TinyGradients {
  train::StepReport report;
  std::map<std::string, at::Tensor> gradients;  ///< of what this rank trains, published names
};

/// One gradient of the tiny run on this world; tokens depend on the sequence number only.
/// Collective over world.
[[nodiscard]] TinyGradients tiny_gradients(const config::RunConfig& config,
                                           const TinyBatches& batches,
                                           parallel::Communicator& world);

/// Relative distance in norm: |a - b| / max(|b|, floor).
[[nodiscard]] double distance(const at::Tensor& a, const at::Tensor& b);

}  // namespace dsmoe::test
