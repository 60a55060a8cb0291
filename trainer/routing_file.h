#pragma once

#include <string>
#include <vector>

#include "trainer/step_report.h"

namespace dsmoe::train {

/// Writes what one step routed, per layer and expert, to `directory`/step-NNNNNNNN.safetensors:
/// `load` [layers, E] chosen pairs before dropping; `received`, `sent` [layers, D] rows to and from
/// each device group, a token counting once a group, after dropping, `sent` by the group of the
/// sequence's number mod D; `devices_per_token` [layers, D + 1], how many tokens visit so many
/// groups; `domain_load` [sources, layers, E]. All int64. Metadata: `layers`, `domains`, JSON lists
/// of layer indices and of the names in data.train. Atomic. Throws as throw_file_error.
void write_routing_file(const std::string& directory, const StepReport& report,
                        const std::vector<std::string>& sources);

/// Removes the files of steps after `step`, as a resumed run writes them anew.
void remove_routing_files_after(const std::string& directory, int64_t step);

}  // namespace dsmoe::train
