#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dsmoe::parallel {

/// What a stage does with a micro-batch. The backward pass is one piece, or two: what the stage
/// before waits for, and what only the own weights need.
enum class Pass { kForward, kBackward, kInputGradient, kWeightGradient };

struct PipelineAction {
  Pass pass = Pass::kForward;
  int64_t micro_batch = 0;
  int64_t chunk = 0;  ///< of the stage's slices of layers

  bool operator==(const PipelineAction&) const = default;
};

/// gpipe: all forward, then all backward (arXiv 1811.06965). 1f1b: one forward, one backward
/// (PipeDream-Flush, 2006.09503). zb_h1: the backward pass in two pieces, weight gradients fill the
/// bubble in the memory of 1f1b where a micro-batch that waits for them takes no more than a whole
/// one (Qi et al., 2401.10241). interleaved: 1f1b where each stage has
/// several slices of layers (Megatron-LM, 2104.04473).
enum class ScheduleKind { kGPipe, kOneForwardOneBackward, kZeroBubbleH1, kInterleaved };

struct PipelineShape {
  int64_t stages = 1;
  int64_t micro_batches = 1;
  int64_t chunks = 1;  ///< slices of layers a stage; 1 but for interleaved
  /// zb_h1: of the micro-batches that a stage may have between the two pieces of their backward
  /// pass, as many as its number counted from 1, this share, rounded down; 0 to 1. 0 is 1f1b.
  double put_off = 1;
};

/// What one stage does, in order. Pure. Throws ConfigError on a shape that the schedule cannot
/// have: interleaved takes at least 2 chunks and a multiple of `stages` micro-batches, others 1
/// chunk.
[[nodiscard]] std::vector<PipelineAction> pipeline_schedule(ScheduleKind kind, int64_t stage,
                                                            const PipelineShape& shape);

/// Throws ConfigError listing the names where there is no such schedule.
[[nodiscard]] ScheduleKind schedule_kind(const std::string& name);

/// Seconds, or any unit, of each pass of a micro-batch through a stage's layers, all its chunks
/// together. backward = input gradient + weight gradient.
struct PassCosts {
  double forward = 1;
  double input_gradient = 1;
  double weight_gradient = 1;

  [[nodiscard]] double all() const { return forward + input_gradient + weight_gradient; }
};

/// Idle time of a stage in a step as published, without communication and with enough micro-batches
/// (zb_h1 and interleaved: at least `stages`). zb_h1 with put_off 1.
[[nodiscard]] double published_bubble(ScheduleKind kind, const PipelineShape& shape,
                                      const PassCosts& costs);

/// Of zb_h1: the most micro-batches that a stage has between the two pieces of their backward pass.
/// 0: its backward pass is one piece.
[[nodiscard]] int64_t most_put_off(int64_t stage, const PipelineShape& shape);

/// The most micro-batches, or chunks of one, whose activations a stage keeps at a time.
[[nodiscard]] int64_t live_activations(ScheduleKind kind, int64_t stage,
                                       const PipelineShape& shape);

}  // namespace dsmoe::parallel
