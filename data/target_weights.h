#pragma once

#include <cstdint>
#include <vector>

#include "data/fingerprint.h"

namespace dsmoe::data {

/// What each token of a corpus counts as a target, as runs of equal weight above 0: some bytes an
/// answer.
class TargetWeights {
 public:
  /// The tokens of one more document.
  void append(const std::vector<float>& weights);

  /// Writes the weights of `count` tokens from `position` on.
  void copy(int64_t position, int64_t count, float* out) const;

  /// Tokens of weight above 0.
  [[nodiscard]] int64_t targets() const { return targets_; }
  /// Whether there are weights other than 0 and 1.
  [[nodiscard]] bool graded() const { return graded_; }

  void add_to(Fingerprint& hash) const;

 private:
  struct Run {
    int64_t begin;
    int64_t end;
    float weight;
  };

  std::vector<Run> runs_;
  int64_t tokens_ = 0;
  int64_t targets_ = 0;
  bool graded_ = false;
};

}  // namespace dsmoe::data
