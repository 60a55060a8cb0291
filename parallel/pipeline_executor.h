#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "parallel/communicator.h"
#include "parallel/pipeline_schedule.h"

namespace dsmoe::parallel {

/// What a stage computes; the executor brings it inputs and takes what it makes away.
class PipelineStage {
 public:
  virtual ~PipelineStage() = default;
  /// Memory for what goes between slices of this micro-batch, in either direction: at least one
  /// dimension, and on all stages of one shape and dtype.
  [[nodiscard]] virtual at::Tensor make_message(int64_t micro_batch) = 0;
  /// Returns what goes to the next slice. input: undefined in the first slice of all.
  virtual at::Tensor forward(int64_t micro_batch, int64_t chunk, const at::Tensor& input) = 0;
  /// Returns the gradient of the input. gradient: of what forward returned, undefined in the last
  /// slice of all. defer: weight gradients are left to weight_gradient().
  virtual at::Tensor backward(int64_t micro_batch, int64_t chunk, const at::Tensor& gradient,
                              bool defer) = 0;
  virtual void weight_gradient(int64_t micro_batch, int64_t chunk) = 0;
};

/// A stage that only goes forward.
class ForwardStage : public PipelineStage {
 public:
  at::Tensor backward(int64_t, int64_t, const at::Tensor&, bool) final { return {}; }
  void weight_gradient(int64_t, int64_t) final {}
};

/// The ranks that a micro-batch goes through; rank() is the stage. One group for each direction:
/// in each, neighbours send in the order in which they receive, so that no message waits for one of
/// the other direction.
struct PipelineGroups {
  Communicator& forward;
  Communicator& backward;
};

/// Works off this stage's list of a schedule. A message is received while the action before the one
/// that needs it runs, and sent while later ones do. Each stage calls it alike; all ranks of a
/// stage work off the same list, so that what they do collectively within an action agrees.
void run_pipeline(PipelineStage& stage, ScheduleKind kind, const PipelineShape& shape,
                  const PipelineGroups& groups);

/// The forward passes alone, in rounds of as many micro-batches as there are stages; any number of
/// micro-batches, that is 0 or more. chunks: slices a stage.
void run_forward_passes(ForwardStage& stage, int64_t micro_batches, int64_t chunks,
                        Communicator& forward);

}  // namespace dsmoe::parallel
