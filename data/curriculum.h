#pragma once

#include <cstdint>
#include <vector>

#include "configs/run_config.h"
#include "data/blend.h"

namespace dsmoe::data {

/// Which sequence of which source a global sequence number stands for: the blend of data.train, or
/// of one stage of data.stages after the other. A stage begins at the first sequence behind the
/// tokens of those before it; each source goes on where it was left. A pure function of the
/// configuration and the number. Not thread-safe.
class Curriculum {
 public:
  /// Throws ConfigError as Blend does; expects stages that check_config has passed.
  explicit Curriculum(const config::DataConfig& config);

  /// The picks of [begin, end), in order.
  [[nodiscard]] std::vector<BlendPick> picks(int64_t begin, int64_t end);

  /// The first sequence of each stage; {0} without stages.
  [[nodiscard]] std::vector<int64_t> begins() const;

 private:
  struct Stage {
    int64_t begin = 0;
    std::vector<int64_t> sources;  ///< of data.train, in the blend's order
    Blend blend;
  };
  [[nodiscard]] int64_t end(size_t stage) const;
  /// Sequences of every source that the stages before `stage` used.
  const std::vector<int64_t>& used_before(size_t stage);
  void append(size_t stage, int64_t begin, int64_t end, std::vector<BlendPick>& picks);

  int64_t num_sources_;
  std::vector<Stage> stages_;
  std::vector<std::vector<int64_t>> used_;  ///< found so far, per stage and source
};

}  // namespace dsmoe::data
