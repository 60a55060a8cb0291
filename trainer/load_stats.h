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

/// Coefficient of variation: population standard deviation / mean.
[[nodiscard]] double cv(std::span<const int64_t> counts);

/// Experts nobody chose.
[[nodiscard]] int64_t dead(std::span<const int64_t> counts);

/// MaxVio of the sums over `devices` groups of consecutive experts.
/// Throws std::invalid_argument unless `devices` divides the number of experts.
[[nodiscard]] double device_vio(std::span<const int64_t> counts, int64_t devices);

/// All four of one layer. Throws as device_vio.
[[nodiscard]] LoadValues load_of(std::span<const int64_t> counts, int64_t devices);

/// Of a model: the mean over its layers, for `dead` the sum. Zeros without layers.
[[nodiscard]] LoadValues over_layers(const std::vector<LoadValues>& layers);

}  // namespace dsmoe::train
