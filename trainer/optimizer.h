#pragma once

#include <cstdint>

#include "configs/run_config.h"
#include "modules/parameter_store.h"

namespace dsmoe::train {

/// AdamW on what a ParameterStore trains, each tensor at its multiple of the learning rate.
/// Matrices (embedding, head, gate and experts among them) decay; norm weights do not. Moments have
/// the masters' dtype.
class Optimizer {
 public:
  /// store must outlive the optimizer.
  Optimizer(const config::OptimizerConfig& config, nn::ParameterStore& store);

  /// One step of this rank's share, with gradients divided by `gradient_divisor` (> 0; clipping).
  /// Local.
  void step(double lr, double gradient_divisor);

  /// Steps taken; skipped ones do not count.
  [[nodiscard]] int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  [[nodiscard]] nn::FlatPair& first_moments() { return first_; }
  [[nodiscard]] nn::FlatPair& second_moments() { return second_; }

 private:
  void update(const nn::TrainedRun& run, double lr, double gradient_divisor);

  config::OptimizerConfig config_;
  nn::ParameterStore& store_;
  nn::FlatPair first_;
  nn::FlatPair second_;
  int64_t steps_ = 0;
};

/// What to divide gradients by so that their norm is at most clip_norm; 1 below it or without
/// clipping.
[[nodiscard]] double clip_divisor(double norm, double clip_norm);

}  // namespace dsmoe::train
