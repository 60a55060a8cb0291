#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/step_report.h"

namespace dsmoe::train {

/// Statistics of c_e, the assignments to each expert of one layer. All are 0 where nothing was
/// assigned, but `dead`, which then is the number of experts.

/// (max_e c_e - mean c) / mean c: MaxVio, arXiv 2408.15664 eq (4). 0 at uniform load.
[[nodiscard]] double max_vio(std::span<const int64_t> counts);

/// (mean c - min_e c_e) / mean c: 1 where an expert is dead.
[[nodiscard]] double min_vio(std::span<const int64_t> counts);

/// Mean over the experts of |c_e - mean c| / mean c.
[[nodiscard]] double avg_vio(std::span<const int64_t> counts);

/// Entropy of c_e / sum c over ln E: 1 at uniform load, 0 where one expert has all.
[[nodiscard]] double load_entropy(std::span<const int64_t> counts);

/// Coefficient of variation: population standard deviation / mean.
[[nodiscard]] double cv(std::span<const int64_t> counts);

/// Experts nobody chose.
[[nodiscard]] int64_t dead(std::span<const int64_t> counts);

/// Experts with less than a hundredth of the mean, the dead among them.
[[nodiscard]] int64_t starved(std::span<const int64_t> counts);

/// MaxVio of the sums over `devices` groups of consecutive experts.
/// Throws std::invalid_argument unless `devices` divides the number of experts.
[[nodiscard]] double device_vio(std::span<const int64_t> counts, int64_t devices);

/// How differently domains choose a layer's experts: the Jensen-Shannon divergence of their shares
/// of the pairs, each domain weighing alike, over the log of the number of domains. 0: alike, 1: no
/// two share an expert. Not-a-number with fewer than two domains that were routed at all.
/// counts: [domains][experts].
[[nodiscard]] double specialisation(const std::vector<std::vector<int64_t>>& counts);

/// All of one layer, from its pairs per expert and the rows that each device group received. Throws
/// as device_vio.
[[nodiscard]] LoadValues load_of(std::span<const int64_t> pairs, std::span<const int64_t> received);

/// Of a model: the mean over its layers, for `dead` and `starved` the sum. Zeros without layers.
[[nodiscard]] LoadValues over_layers(const std::vector<LoadValues>& layers);

}  // namespace dsmoe::train
