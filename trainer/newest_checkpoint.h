#pragma once

#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace dsmoe::train {

/// The newest step directory that verifies, each rank reading a part of its files; nothing if none
/// does or there is no directory. Adds one line to `warnings` for each newer one that does not. The
/// same on all ranks. Collective.
[[nodiscard]] std::optional<std::string> newest_complete(const std::string& checkpoints,
                                                         std::vector<std::string>& warnings,
                                                         parallel::Communicator& world);

}  // namespace dsmoe::train
