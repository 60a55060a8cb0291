#pragma once

#include <string>

#include "configs/run_config.h"

namespace dsmoe::train {

/// What `dsmoe inspect --cluster` is asked for.
struct PlanQuestion {
  std::string cluster;   ///< a file of configs/clusters/
  int64_t nodes = 0;     ///< instead of the file's; 0: as it says
  int64_t layouts = 10;  ///< of the ranking that are shown

  bool operator==(const PlanQuestion&) const = default;
};

/// The run's own layout on that cluster, then the best ones and why others do not fit. Throws
/// ConfigError. Local.
[[nodiscard]] std::string inspect_plan(const config::RunConfig& config,
                                       const PlanQuestion& question, bool json);

}  // namespace dsmoe::train
