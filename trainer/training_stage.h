#pragma once

#include <map>
#include <utility>

#include "modules/deferred_gradients.h"
#include "parallel/pipeline_executor.h"
#include "trainer/step_work.h"

namespace dsmoe::train {

/// Forward and backward passes of a step's micro-batches through the slices of this rank, each with
/// the losses of its own layers: the backward pass begins at the gradient that comes back and at
/// these losses.
class TrainingStage final : public parallel::PipelineStage {
 public:
  explicit TrainingStage(StepWork& step);

  [[nodiscard]] at::Tensor make_message(int64_t micro_batch) override;
  at::Tensor forward(int64_t micro_batch, int64_t slice, const at::Tensor& input) override;
  at::Tensor backward(int64_t micro_batch, int64_t slice, const at::Tensor& gradient,
                      bool defer) override;
  void weight_gradient(int64_t micro_batch, int64_t slice) override;

 private:
  /// A micro-batch on its way through a slice.
  struct Passage {
    at::Tensor input;   ///< undefined in the first slice
    at::Tensor hidden;  ///< what the slice after it got; undefined in the last
    at::Tensor loss;    ///< the objective's part here
    nn::DeferredGradients deferred{};
  };

  /// One pass less until the slice's gradients are complete.
  void pass_ended(int64_t slice);

  std::map<std::pair<int64_t, int64_t>, Passage> passages_;
  std::vector<size_t> passes_left_;  ///< by slice: micro-batches whose weight gradients are to come
  StepWork& step_;
};

}  // namespace dsmoe::train
