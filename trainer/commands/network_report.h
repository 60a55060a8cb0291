#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "trainer/network_bench.h"
#include "trainer/placement.h"

namespace dsmoe::train {

/// Where the ranks are and how fast they reach each other, as a table.
[[nodiscard]] std::string network_text(const NetworkTimes& times,
                                       const std::vector<Placement>& placements,
                                       const std::vector<int64_t>& threads);

/// {"ranks": [{"host", "cores"}], "links": [{"rank", "latency_seconds", "bytes_per_second"}],
/// "collectives": [{"operation", "bytes", "seconds", "bus_bytes_per_second"}]}.
[[nodiscard]] nlohmann::ordered_json network_json(const NetworkTimes& times,
                                                  const std::vector<Placement>& placements);

}  // namespace dsmoe::train
