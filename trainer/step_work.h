#pragma once

#include <optional>
#include <vector>

#include "trainer/balance_scope.h"
#include "trainer/gradient_sums.h"
#include "trainer/gradients.h"
#include "trainer/interference.h"
#include "trainer/step_statistics.h"

namespace dsmoe::train {

/// What the micro-batches of one step share. Borrowed for the step.
struct StepWork {
  TrainContext& context;
  const MicroBatches& batches;
  int64_t first_sequence;
  GlobalCounts global;
  StepStatistics statistics;
  PhaseSeconds& time;
  GradientSums& sums;
  LogitsRecorder* recorder;  ///< null: not in this step
  std::optional<Interference> interference{};
  /// By slice of this rank: of all micro-batches and ranks, where the scope asks for it beforehand.
  std::vector<LayerCounts> whole{};

  [[nodiscard]] const data::TokenBatch& batch(int64_t micro_batch) const {
    return batches[static_cast<size_t>(micro_batch)];
  }
  /// Whether the slice is the last of the model, whose rank counts what is counted once.
  [[nodiscard]] bool last(int64_t slice) const {
    return context.model->slices()[static_cast<size_t>(slice)].last(context.config.model);
  }
};

/// One slice's forward pass over a micro-batch. input: see ModelImpl::run_slice, tokens where
/// undefined. Adds the bytes that dropping gathers to the statistics.
[[nodiscard]] nn::ModelOutput run_slice(StepWork& step, int64_t micro_batch, int64_t slice,
                                        const at::Tensor& input, const nn::SequenceInfo& sequences);

/// Memory for hidden rows of a micro-batch.
[[nodiscard]] at::Tensor hidden_rows_like(const nn::Model& model, const data::TokenBatch& batch);

/// Bytes that the expert group's row exchanges and drop decisions sent from this rank.
[[nodiscard]] int64_t expert_group_bytes(const TrainContext& context);

/// Bytes that this rank's row exchanges of the step sent to other nodes, and within its own.
struct NodeBytes {
  int64_t across = 0;
  int64_t within = 0;
};
[[nodiscard]] NodeBytes node_bytes(const TrainContext& context);

}  // namespace dsmoe::train
