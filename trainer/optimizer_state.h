#pragma once

#include <string>
#include <vector>

#include "trainer/checkpoint.h"
#include "trainer/optimizer_files.h"

namespace dsmoe::train {

/// One kind of optimizer state: its prefix in the files, and its buffers.
struct StateKind {
  std::string prefix;
  nn::FlatPair* buffers;
};

/// Moments, and masters where there are some.
[[nodiscard]] std::vector<StateKind> state_kinds(const Checkpointed& run);

/// Whether this rank writes what it has of a group: one of several that have the same does.
[[nodiscard]] bool writes_state(nn::ParameterGroup group, const Checkpointed& run);

/// What this rank writes of a kind: views of `buffers`, which are the kind's or a copy of them. Of
/// several ranks that have the same, one writes it.
[[nodiscard]] std::vector<StatePiece> owned_pieces(const Checkpointed& run,
                                                   const std::string& prefix,
                                                   const nn::FlatPair& buffers);

/// Fills this rank's state from the optimizer/ folder of a step directory, whatever layout wrote
/// it.
void read_optimizer_state(const std::string& step_directory, const Checkpointed& run);

}  // namespace dsmoe::train
