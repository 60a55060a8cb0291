#pragma once

#include "configs/run_config.h"
#include "trainer/command.h"

namespace dsmoe::train {

/// Prints the resolved run, its parameters, memory and traffic, for people or as one JSON object on
/// stdout. Checks as a run would, reads no data. Returns the exit code. Collective over the world.
[[nodiscard]] int show_dry_run(const config::RunConfig& config, bool json, CommandContext& context);

}  // namespace dsmoe::train
