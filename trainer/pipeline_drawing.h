#pragma once

#include <string>

#include "parallel/pipeline_timeline.h"

namespace dsmoe::train {

/// A line a stage, a column a unit of time, which all times must be multiples of: F3 forward of
/// micro-batch 3, B3 its backward pass, or the input gradients of it where W3 are the weights'; of
/// several chunks F3a, F3b; a dot where the stage idles.
[[nodiscard]] std::string pipeline_text(const parallel::PipelineTimeline& timeline);

/// The same as a picture that needs nothing beside it.
[[nodiscard]] std::string pipeline_svg(const parallel::PipelineTimeline& timeline,
                                       const std::string& title);

}  // namespace dsmoe::train
