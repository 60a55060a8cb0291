#pragma once

#include <string>

#include "tests/support/checks.h"
#include "tests/support/tiny_run.h"

namespace dsmoe::test {

/// That a gradient of the tiny run, on any layout, is that of one rank: every number of the report
/// that does not depend on the layout, and the gradient of every tensor that this rank holds.
/// tolerance: relative; counts are compared exactly.
void compare_gradients(Checks& checks, const TinyGradients& actual, const TinyGradients& oracle,
                       double tolerance, const std::string& what);

/// One gradient of the tiny run in one process, in the same micro-batches.
[[nodiscard]] TinyGradients gradients_alone(config::RunConfig config, const TinyBatches& batches);

}  // namespace dsmoe::test
