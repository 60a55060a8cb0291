#pragma once

#include <string>

#include "configs/run_config.h"
#include "parallel/communicator.h"
#include "tests/support/checks.h"
#include "tests/support/tiny_run.h"
#include "trainer/checkpoint.h"

namespace dsmoe::test {

/// What of a run a checkpoint is made of.
[[nodiscard]] train::Checkpointed checkpointed(TinyRun& run);

/// What a rank read and has, in bytes.
struct Reading {
  int64_t read = 0;  ///< from files, while loading
  int64_t held = 0;  ///< of weights and of the optimizer's state
};

/// A tiny run of this layout takes over from a step directory, saves what it has read as step
/// `step` below `folder`, trains and saves the result as the step after. Without a directory it
/// begins by itself. Collective over world.
Reading take_over(parallel::Communicator& world, config::RunConfig config, const std::string& from,
                  const std::string& folder, int64_t step);

[[nodiscard]] std::string saved_step(const std::string& folder, int64_t step);

/// Whether two step directories hold the same weights and optimizer state, bit for bit, whatever
/// layouts wrote them.
void compare_saved(Checks& checks, const std::string& again, const std::string& before,
                   const std::string& what);

/// Bytes of a step directory that say where its tensors are, and texts.
[[nodiscard]] int64_t described_bytes(const std::string& step_directory);

}  // namespace dsmoe::test
