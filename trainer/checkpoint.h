#pragma once

#include <optional>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "data/tokenizer.h"
#include "modules/parameter_store.h"
#include "parallel/process_groups.h"
#include "parallel/topology.h"
#include "trainer/adapter_directory.h"
#include "trainer/optimizer.h"
#include "trainer/run_state.h"

namespace dsmoe::train {

/// What a checkpoint is made from and restored into.
struct Checkpointed {
  const config::RunConfig& config;
  nn::ParameterStore& store;
  Optimizer& optimizer;
  const parallel::Topology& topology;
  parallel::Communicator& world;
  parallel::ProcessGroups& groups;
  AdapterBase base{};  ///< of a run that trains adapters
};

/// The step directory that `run.resume` asks for, if any. auto: the newest that verifies, a warning
/// for each newer one that does not, or CheckpointError when there are some and none does; never:
/// none; a directory: that one, or CheckpointError. Each rank reads a part of the files.
/// Collective; throws as agree does.
[[nodiscard]] std::optional<std::string> find_checkpoint(const std::string& checkpoints,
                                                         const std::string& resume,
                                                         std::vector<std::string>& warnings,
                                                         parallel::Communicator& world);

/// Throws CheckpointError listing the keys that differ from the checkpoint's and must not (model,
/// data, batch.sequences, batch.pool, balance, drop, run.seed, run.precision) unless
/// run.allow_change names them.
void check_same_run(const std::string& step_directory, const config::RunConfig& config);

/// Restores weights (of adapters alone where they are trained: the rest is model.init_from's),
/// masters, moments and Adam's t from a step directory, whatever layout wrote it.
/// Returns the run's state. Local; throws CheckpointError.
[[nodiscard]] RunState load_checkpoint(const std::string& step_directory, const Checkpointed& run);

/// What the ranks of a run write and compute in: F32, F64, or BF16 with float32 masters.
[[nodiscard]] at::ScalarType compute_dtype(config::Precision precision);

}  // namespace dsmoe::train
