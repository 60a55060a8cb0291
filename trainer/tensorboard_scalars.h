#pragma once

#include "trainer/step_report.h"
#include "trainer/tensorboard.h"

namespace dsmoe::train {

/// Writes a step's scalars under the names of metrics.jsonl, with `/` for the dots: train/loss,
/// load/max_vio, layer_3/load/max_vio, eval/webster/bits_per_byte.
void write_scalars(TensorBoardWriter& writer, const StepReport& report);

}  // namespace dsmoe::train
