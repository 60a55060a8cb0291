#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <set>
#include <string>

#include "configs/run_config.h"
#include "parallel/communicator.h"
#include "trainer/optimizer.h"
#include "trainer/session.h"
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

/// The tiny run on this world, with initial weights; tokens depend on the sequence number only.
class TinyRun {
 public:
  /// Collective over world, as everything else here.
  TinyRun(const config::RunConfig& config, const TinyBatches& batches,
          parallel::Communicator& world);

  /// The gradient of the batch that begins with sequence `first`.
  train::StepReport gradient(int64_t first = 0);
  /// A whole step with a rate of 0.01, clipped as configured.
  train::StepReport step(int64_t first);

  [[nodiscard]] train::Session& session() { return session_; }
  [[nodiscard]] train::Optimizer& optimizer() { return optimizer_; }

 private:
  TinyBatches batches_;
  train::Session session_;
  train::Optimizer optimizer_;
};

struct TinyGradients {
  train::StepReport report;
  std::map<std::string, at::Tensor> gradients;  ///< of what this rank trains, published names
  std::set<std::string> trained;                ///< names of what any rank trains
};

/// One gradient of the tiny run on this world; tokens depend on the sequence number only.
/// Collective over world.
[[nodiscard]] TinyGradients tiny_gradients(const config::RunConfig& config,
                                           const TinyBatches& batches,
                                           parallel::Communicator& world);

/// Relative distance in norm: |a - b| / max(|b|, floor).
[[nodiscard]] double distance(const at::Tensor& a, const at::Tensor& b);

}  // namespace dsmoe::test
