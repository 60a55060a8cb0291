#include "parallel/pipeline_schedule.h"

#include <algorithm>
#include <cmath>

#include "configs/errors.h"

namespace dsmoe::parallel {
namespace {

using Actions = std::vector<PipelineAction>;

Actions gpipe(const PipelineShape& shape) {
  Actions actions;
  for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
    for (int64_t i = 0; i < shape.micro_batches; ++i) actions.push_back({pass, i});
  }
  return actions;
}

/// Forwards that fill the stages behind this one, then one backward a forward.
Actions one_forward_one_backward(int64_t stage, const PipelineShape& shape) {
  const int64_t count = shape.micro_batches;
  const int64_t ahead = std::min(shape.stages - 1 - stage, count);
  Actions actions;
  for (int64_t i = 0; i < ahead; ++i) actions.push_back({Pass::kForward, i});
  for (int64_t i = 0; i < count; ++i) {
    if (i + ahead < count) actions.push_back({Pass::kForward, i + ahead});
    actions.push_back({Pass::kBackward, i});
  }
  return actions;
}

/// As 1f1b, but a stage puts its weight gradients off, all that it may by as many micro-batches as
/// there are stages before it: those have to wait for its input gradients, and it has room for the
/// activations.
Actions zero_bubble_h1(int64_t stage, const PipelineShape& shape) {
  const int64_t count = shape.micro_batches, most = most_put_off(stage, shape);
  if (most == 0) return one_forward_one_backward(stage, shape);
  const int64_t ahead = std::min(shape.stages - stage, count), behind = most - 1;
  Actions actions;
  for (int64_t i = 0; i < ahead; ++i) actions.push_back({Pass::kForward, i});
  for (int64_t i = 0; i < count; ++i) {
    actions.push_back({Pass::kInputGradient, i});
    if (i >= behind) actions.push_back({Pass::kWeightGradient, i - behind});
    if (i + ahead < count) actions.push_back({Pass::kForward, i + ahead});
  }
  for (int64_t i = std::max<int64_t>(0, count - behind); i < count; ++i) {
    actions.push_back({Pass::kWeightGradient, i});
  }
  return actions;
}

/// The k-th pass of a stage: `stages` micro-batches through one chunk, then through the next, and
/// backward through the chunks from the last.
PipelineAction interleaved_pass(Pass pass, int64_t k, const PipelineShape& shape) {
  const int64_t round = shape.stages * shape.chunks;
  const int64_t chunk = k % round / shape.stages;
  return {pass, k / round * shape.stages + k % shape.stages,
          pass == Pass::kForward ? chunk : shape.chunks - 1 - chunk};
}

int64_t interleaved_ahead(int64_t stage, const PipelineShape& shape) {
  return std::min((shape.stages - 1 - stage) * 2 + (shape.chunks - 1) * shape.stages,
                  shape.micro_batches * shape.chunks);
}

Actions interleaved(int64_t stage, const PipelineShape& shape) {
  const int64_t passes = shape.micro_batches * shape.chunks;
  const int64_t ahead = interleaved_ahead(stage, shape);
  Actions actions;
  for (int64_t k = 0; k < ahead; ++k) {
    actions.push_back(interleaved_pass(Pass::kForward, k, shape));
  }
  for (int64_t k = 0; k < passes; ++k) {
    if (k + ahead < passes) {
      actions.push_back(interleaved_pass(Pass::kForward, k + ahead, shape));
    }
    actions.push_back(interleaved_pass(Pass::kBackward, k, shape));
  }
  return actions;
}

void check_interleaved(const PipelineShape& shape) {
  if (shape.chunks < 2) {
    throw ConfigError("an interleaved schedule has at least 2 chunks a stage, not " +
                      std::to_string(shape.chunks) + "\nhint: 1f1b is the one of 1 chunk");
  }
  if (shape.micro_batches % shape.stages == 0) return;
  throw ConfigError("an interleaved schedule of " + std::to_string(shape.stages) +
                    " stages takes a multiple of as many micro-batches, not " +
                    std::to_string(shape.micro_batches) +
                    "\nhint: change the number of micro-batches, or take 1f1b");
}

void check_shape(ScheduleKind kind, const PipelineShape& shape) {
  if (shape.stages < 1 || shape.micro_batches < 1) {
    throw ConfigError("a pipeline has at least 1 stage and 1 micro-batch, not " +
                      std::to_string(shape.stages) + " and " + std::to_string(shape.micro_batches) +
                      "\nhint: give --stages and --micro-batches above 0");
  }
  if (!(shape.put_off >= 0 && shape.put_off <= 1)) {  // NaN is neither
    throw ConfigError("a share of 0 to 1 is put off, not " + std::to_string(shape.put_off) +
                      "\nhint: 1 is the published schedule, 0 is 1f1b");
  }
  if (kind == ScheduleKind::kInterleaved) return check_interleaved(shape);
  if (shape.chunks == 1) return;
  throw ConfigError("this schedule has 1 chunk a stage, not " + std::to_string(shape.chunks) +
                    "\nhint: interleaved is the one with more");
}

}  // namespace

Actions pipeline_schedule(ScheduleKind kind, int64_t stage, const PipelineShape& shape) {
  check_shape(kind, shape);
  switch (kind) {
    case ScheduleKind::kGPipe:
      return gpipe(shape);
    case ScheduleKind::kOneForwardOneBackward:
      return one_forward_one_backward(stage, shape);
    case ScheduleKind::kZeroBubbleH1:
      return zero_bubble_h1(stage, shape);
    case ScheduleKind::kInterleaved:
      return interleaved(stage, shape);
  }
  return {};
}

ScheduleKind schedule_kind(const std::string& name) {
  if (name == "gpipe") return ScheduleKind::kGPipe;
  if (name == "1f1b") return ScheduleKind::kOneForwardOneBackward;
  if (name == "zb_h1") return ScheduleKind::kZeroBubbleH1;
  if (name == "interleaved") return ScheduleKind::kInterleaved;
  throw ConfigError("no pipeline schedule `" + name + "`\nhint: gpipe, 1f1b, zb_h1 or interleaved");
}

double published_bubble(ScheduleKind kind, const PipelineShape& shape, const PassCosts& costs) {
  const auto others = static_cast<double>(shape.stages - 1);
  switch (kind) {
    case ScheduleKind::kZeroBubbleH1:
      return others * (costs.forward + costs.input_gradient - costs.weight_gradient);
    case ScheduleKind::kInterleaved:
      return others * costs.all() / static_cast<double>(shape.chunks);
    default:
      return others * costs.all();
  }
}

int64_t most_put_off(int64_t stage, const PipelineShape& shape) {
  constexpr double kRounding = 1e-9;  // of products like 10 * 0.7
  return static_cast<int64_t>(
      std::floor(static_cast<double>(stage + 1) * shape.put_off + kRounding));
}

int64_t live_activations(ScheduleKind kind, int64_t stage, const PipelineShape& shape) {
  switch (kind) {
    case ScheduleKind::kGPipe:
      return shape.micro_batches;
    case ScheduleKind::kOneForwardOneBackward:
      return std::min(shape.stages - stage, shape.micro_batches);
    case ScheduleKind::kZeroBubbleH1:
      return std::min(shape.stages - stage + std::max<int64_t>(0, most_put_off(stage, shape) - 1),
                      shape.micro_batches);
    case ScheduleKind::kInterleaved:
      return std::min(interleaved_ahead(stage, shape) + 1, shape.micro_batches * shape.chunks);
  }
  return 0;
}

}  // namespace dsmoe::parallel
