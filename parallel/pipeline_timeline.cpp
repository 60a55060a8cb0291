#include "parallel/pipeline_timeline.h"

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>

namespace dsmoe::parallel {
namespace {

bool is_backward(Pass pass) { return pass == Pass::kBackward || pass == Pass::kInputGradient; }

/// From one stage to another, forward or backward.
using Channel = std::tuple<int64_t, int64_t, bool>;

/// What a message carries: the micro-batch, and the slice of layers that takes it, counted over all
/// stages in the model's order.
using Message = std::pair<int64_t, int64_t>;

struct Queue {
  std::vector<Message> sent;
  std::vector<double> sent_at;
  std::vector<double> taken_at;
};

class Simulation {
 public:
  Simulation(ScheduleKind kind, const PipelineShape& shape, const std::vector<PassCosts>& costs,
             double message, int64_t capacity)
      : shape_(shape), costs_(costs), message_(message), capacity_(static_cast<size_t>(capacity)) {
    const auto stages = static_cast<size_t>(shape.stages);
    for (int64_t s = 0; s < shape.stages; ++s) lists_.push_back(pipeline_schedule(kind, s, shape));
    free_at_.resize(stages);
    next_.resize(stages);
    pending_.resize(stages);
    timeline_.stages.resize(stages);
  }

  PipelineTimeline run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int64_t s = 0; s < shape_.stages; ++s) {
        while (step(s)) moved = true;
      }
    }
    check_done();
    return timeline_;
  }

 private:
  /// A result that found no room yet.
  struct Pending {
    Channel channel;
    Message message;
  };

  [[nodiscard]] int64_t slices() const { return shape_.stages * shape_.chunks; }

  [[nodiscard]] double cost(Pass pass, size_t stage) const {
    const PassCosts& costs = costs_[stage];
    const double whole = pass == Pass::kForward         ? costs.forward
                         : pass == Pass::kInputGradient ? costs.input_gradient
                         : pass == Pass::kWeightGradient
                             ? costs.weight_gradient
                             : costs.input_gradient + costs.weight_gradient;
    return whole / static_cast<double>(shape_.chunks);
  }

  /// The slice whose output an action takes; none: tokens, the loss, or the stage's own.
  [[nodiscard]] std::optional<int64_t> source(const PipelineAction& a, int64_t slice) const {
    if (a.pass == Pass::kForward && slice > 0) return slice - 1;
    if (is_backward(a.pass) && slice < slices() - 1) return slice + 1;
    return std::nullopt;
  }

  [[nodiscard]] std::optional<int64_t> target(const PipelineAction& a, int64_t slice) const {
    if (a.pass == Pass::kForward && slice < slices() - 1) return slice + 1;
    if (is_backward(a.pass) && slice > 0) return slice - 1;
    return std::nullopt;
  }

  [[nodiscard]] Channel channel(int64_t from, int64_t to, Pass pass) const {
    return {from % shape_.stages, to % shape_.stages, pass == Pass::kForward};
  }

  /// Does what the stage does next, or sends what it did last; false where it has to wait.
  bool step(int64_t stage) {
    const auto s = static_cast<size_t>(stage);
    if (pending_[s]) return send(stage);
    if (next_[s] == lists_[s].size()) return false;
    const PipelineAction& action = lists_[s][next_[s]];
    const int64_t slice = action.chunk * shape_.stages + stage;
    double begin = free_at_[s];
    if (const auto from = source(action, slice)) {
      const auto arrived =
          take(channel(*from, slice, action.pass), {action.micro_batch, slice}, begin);
      if (!arrived) return false;
      begin = *arrived;
    }
    free_at_[s] = begin + cost(action.pass, s);
    timeline_.stages[s].push_back({action, begin, free_at_[s]});
    ++next_[s];
    if (const auto to = target(action, slice)) {
      pending_[s] = Pending{channel(slice, *to, action.pass), {action.micro_batch, *to}};
    }
    return true;
  }

  /// When the oldest message of a channel is taken up by a stage that is free at `ready`.
  std::optional<double> take(const Channel& channel, const Message& message, double ready) {
    Queue& queue = queues_[channel];
    const size_t n = queue.taken_at.size();
    if (n == queue.sent.size()) return std::nullopt;
    if (queue.sent[n] != message) {
      throw std::logic_error("a pipeline's stages send and take up in different orders");
    }
    queue.taken_at.push_back(std::max(ready, queue.sent_at[n] + message_));
    return queue.taken_at.back();
  }

  bool send(int64_t stage) {
    const auto s = static_cast<size_t>(stage);
    Queue& queue = queues_[pending_[s]->channel];
    const size_t n = queue.sent.size();
    if (n >= capacity_ + queue.taken_at.size()) return false;
    if (n >= capacity_) free_at_[s] = std::max(free_at_[s], queue.taken_at[n - capacity_]);
    queue.sent.push_back(pending_[s]->message);
    queue.sent_at.push_back(free_at_[s]);
    pending_[s].reset();
    return true;
  }

  void check_done() const {
    std::string waiting;
    for (size_t s = 0; s < lists_.size(); ++s) {
      if (next_[s] == lists_[s].size() && !pending_[s]) continue;
      waiting += " stage " + std::to_string(s) + " before action " + std::to_string(next_[s]) +
                 (pending_[s] ? " to send" : " for its input") + ";";
    }
    if (!waiting.empty()) throw std::logic_error("a pipeline stands still:" + waiting);
  }

  PipelineShape shape_;
  std::vector<PassCosts> costs_;
  double message_;
  size_t capacity_;
  std::vector<std::vector<PipelineAction>> lists_;
  std::vector<double> free_at_;
  std::vector<size_t> next_;
  std::vector<std::optional<Pending>> pending_;
  std::map<Channel, Queue> queues_;
  PipelineTimeline timeline_;
};

}  // namespace

double PipelineTimeline::length() const {
  double last = 0;
  for (const auto& stage : stages) {
    if (!stage.empty()) last = std::max(last, stage.back().end);
  }
  return last;
}

double PipelineTimeline::idle(int64_t stage) const {
  double busy = 0;
  for (const TimedAction& one : stages[static_cast<size_t>(stage)]) busy += one.end - one.begin;
  return length() - busy;
}

int64_t PipelineTimeline::live_activations(int64_t stage) const {
  int64_t live = 0, most = 0;
  for (const TimedAction& one : stages[static_cast<size_t>(stage)]) {
    if (one.action.pass == Pass::kForward) most = std::max(most, ++live);
    if (one.action.pass == Pass::kBackward || one.action.pass == Pass::kWeightGradient) --live;
  }
  return most;
}

PipelineTimeline simulate(ScheduleKind kind, const PipelineShape& shape, const PassCosts& costs,
                          int64_t capacity) {
  return simulate_stages(kind, shape, std::vector(static_cast<size_t>(shape.stages), costs),
                         /*message=*/0, capacity);
}

PipelineTimeline simulate_stages(ScheduleKind kind, const PipelineShape& shape,
                                 const std::vector<PassCosts>& costs, double message,
                                 int64_t capacity) {
  return Simulation(kind, shape, costs, message, capacity).run();
}

}  // namespace dsmoe::parallel
