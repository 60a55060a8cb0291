#pragma once

#include <cstdint>
#include <vector>

namespace dsmoe::data {

/// Which sequence of which source a global sequence number stands for.
struct BlendPick {
  int64_t source = 0;
  int64_t index = 0;  ///< counts this source's sequences from 0
};

/// Weighted blend: number n goes to argmax_i (w_i * max(n, 1) - count_i), the first on ties, in
/// double precision with weights that sum to 1 (Megatron's rule). Any source is then within a few
/// sequences of its share at any time.
/// Single source: closed form. Else counts are remembered every 65,536 numbers, so that going
/// anywhere already passed is quick; the first way to n costs n steps (about 10^8 a second).
class Blend {
 public:
  /// Throws ConfigError unless there is a weight, and all are positive and finite.
  explicit Blend(std::vector<double> weights);

  /// The picks of [begin, end), in order.
  [[nodiscard]] std::vector<BlendPick> picks(int64_t begin, int64_t end);

  /// How many numbers below `number` go to each source.
  [[nodiscard]] std::vector<int64_t> counts(int64_t number);

 private:
  struct State {
    int64_t number = 0;           ///< the next to be picked
    std::vector<int64_t> counts;  ///< per source, of the numbers before it
  };
  void go_to(int64_t number);
  BlendPick step();

  std::vector<double> weights_;
  State state_;
  std::vector<std::vector<int64_t>> landmarks_;  ///< counts at multiples of kStride
};

}  // namespace dsmoe::data
