#include "parallel/pipeline_executor.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

namespace dsmoe::parallel {
namespace {

using Actions = std::vector<PipelineAction>;

bool is_forward(const PipelineAction& action) { return action.pass == Pass::kForward; }

/// A message on its way here.
struct Arrival {
  at::Tensor tensor;  ///< undefined: the action needs none
  std::unique_ptr<Work> work{};
};

class Executor {
 public:
  /// most_sent: messages on their way; a stage that has as many waits for the oldest.
  Executor(PipelineStage& stage, int64_t chunks, const PipelineGroups& groups, size_t most_sent)
      : stage_(stage),
        groups_(groups),
        rank_(groups.forward.rank()),
        stages_(groups.forward.size()),
        slices_(stages_ * chunks),
        most_sent_(most_sent) {
    connect();
  }

  void run(const Actions& actions) {
    std::optional<Arrival> next;
    for (size_t i = 0; i < actions.size(); ++i) {
      Arrival now = next ? std::move(*next) : expect(actions[i]);
      next.reset();
      if (i + 1 < actions.size()) next = expect(actions[i + 1]);
      if (now.work) now.work->wait();
      forget_sent();
      execute(actions[i], now.tensor);
    }
    for (const auto& work : sent_) work->wait();
  }

 private:
  /// With the stages on either side; of several slices a stage, those go round.
  void connect() {
    std::vector<int64_t> behind_this, before_this;
    if (slices_ > stages_ || rank_ < stages_ - 1) behind_this.push_back(behind());
    if (slices_ > stages_ || rank_ > 0) before_this.push_back(before());
    groups_.forward.connect(behind_this, before_this);
    if (&groups_.backward == &groups_.forward) return;  // forward passes alone
    groups_.backward.connect(before_this, behind_this);
  }

  /// Of all slices of the model.
  [[nodiscard]] int64_t slice_of(const PipelineAction& action) const {
    return action.chunk * stages_ + rank_;
  }
  [[nodiscard]] int64_t before() const { return (rank_ + stages_ - 1) % stages_; }
  [[nodiscard]] int64_t behind() const { return (rank_ + 1) % stages_; }

  Arrival expect(const PipelineAction& action) {
    const int64_t slice = slice_of(action);
    const bool forward = is_forward(action);
    const bool none =
        action.pass == Pass::kWeightGradient || (forward ? slice == 0 : slice == slices_ - 1);
    if (none) return {};
    Arrival arrival{stage_.make_message(action.micro_batch)};
    arrival.work = forward ? groups_.forward.receive_async(arrival.tensor, before())
                           : groups_.backward.receive_async(arrival.tensor, behind());
    return arrival;
  }

  void execute(const PipelineAction& action, const at::Tensor& input) {
    const auto& [pass, micro_batch, chunk] = action;
    if (pass == Pass::kWeightGradient) return stage_.weight_gradient(micro_batch, chunk);
    if (is_forward(action)) {
      const at::Tensor output = stage_.forward(micro_batch, chunk, input);
      if (slice_of(action) < slices_ - 1) send(groups_.forward, output, behind());
      return;
    }
    const bool defer = pass == Pass::kInputGradient;
    const at::Tensor gradient = stage_.backward(micro_batch, chunk, input, defer);
    if (slice_of(action) > 0) send(groups_.backward, gradient, before());
  }

  void send(Communicator& group, const at::Tensor& tensor, int64_t to) {
    while (sent_.size() >= most_sent_) {
      sent_.front()->wait();
      sent_.erase(sent_.begin());
    }
    sent_.push_back(group.send_async(tensor.contiguous(), to));
  }

  void forget_sent() {
    std::erase_if(sent_, [](const std::unique_ptr<Work>& work) { return work->poll(); });
  }

  PipelineStage& stage_;
  const PipelineGroups& groups_;
  int64_t rank_;
  int64_t stages_;
  int64_t slices_;
  size_t most_sent_;
  std::vector<std::unique_ptr<Work>> sent_;
};

}  // namespace

void run_pipeline(PipelineStage& stage, ScheduleKind kind, const PipelineShape& shape,
                  const PipelineGroups& groups) {
  // The schedule itself bounds what is on its way.
  Executor executor(stage, shape.chunks, groups, std::numeric_limits<size_t>::max());
  executor.run(pipeline_schedule(kind, groups.forward.rank(), shape));
}

void run_forward_passes(ForwardStage& stage, int64_t micro_batches, int64_t chunks,
                        Communicator& forward) {
  Actions actions;
  for (int64_t begin = 0; begin < micro_batches; begin += forward.size()) {
    const int64_t end = std::min(begin + forward.size(), micro_batches);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      for (int64_t i = begin; i < end; ++i) actions.push_back({Pass::kForward, i, chunk});
    }
  }
  // In a round a stage sends as many messages as there are stages: with these on their way no ring
  // of stages can wait for each other.
  Executor(stage, chunks, {forward, forward}, static_cast<size_t>(forward.size())).run(actions);
}

}  // namespace dsmoe::parallel
