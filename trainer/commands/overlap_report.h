#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "trainer/overlap_bench.h"

namespace dsmoe::train {

/// Seconds without and with parallel.overlap, side by side, as a table.
[[nodiscard]] std::string overlap_text(const OverlapResult& result);

/// {"without": {"step", "gradient_sums", "row_exchanges"}, "with": {...}}, in seconds.
[[nodiscard]] nlohmann::ordered_json overlap_json(const OverlapResult& result);

}  // namespace dsmoe::train
