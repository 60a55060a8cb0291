#pragma once

#include "trainer/command.h"

namespace dsmoe::train {

/// Trains to the last step, or until it is asked to stop; with json, tells on stdout what came of
/// it (TrainRun::outcome). Returns the exit code. Collective over the world.
int train_to_end(const config::RunConfig& config, bool json, CommandContext& context);

}  // namespace dsmoe::train
