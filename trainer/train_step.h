#pragma once

#include "data/loader.h"
#include "trainer/gradients.h"
#include "trainer/run_state.h"
#include "trainer/step_report.h"

namespace dsmoe::train {

/// One training step, design section 4: micro-batches, counts, forward and backward, summed
/// gradients, norm and clip, optimizer or a skipped step. Advances `state`. Collective.
[[nodiscard]] StepReport train_step(TrainContext& context, data::Loader& loader, RunState& state);

}  // namespace dsmoe::train
