#pragma once

#include "configs/run_config.h"
#include "parallel/pipeline_schedule.h"
#include "parallel/topology.h"

namespace dsmoe::train {

/// What a step's pipeline schedule is made from.
[[nodiscard]] parallel::PipelineShape pipeline_shape(const config::RunConfig& config,
                                                     const parallel::Topology& topology);

}  // namespace dsmoe::train
