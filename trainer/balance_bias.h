#pragma once

#include "modules/parameter_store.h"
#include "trainer/step_report.h"

namespace dsmoe::train {

/// Balance without a loss, V3 section 2.1.2: moves the bias of each expert's choice by `rate`, up
/// where the step's load was below the layer's mean, down where it was above. The loads are the
/// global batch's, the same on every rank, and so are the biases. Local.
void move_biases(nn::ParameterStore& store, const std::vector<LayerReport>& layers, double rate);

}  // namespace dsmoe::train
