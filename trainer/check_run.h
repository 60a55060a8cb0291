#pragma once

#include <cstdint>

#include "configs/run_config.h"

namespace dsmoe::train {

/// What training needs beyond a configuration that is right in itself: data, a length, a layout
/// that fits `world` ranks, stages that reach the end. Throws ConfigError.
void check_run(const config::RunConfig& config, int64_t world);

}  // namespace dsmoe::train
