#pragma once

#include "parallel/pipeline_executor.h"
#include "trainer/step_work.h"

namespace dsmoe::train {

/// Counts the units of the whole step by a forward pass without gradient, into step.whole.
/// Collective over the stage's groups and the pipeline.
void count_whole_step(StepWork& step);

}  // namespace dsmoe::train
