#pragma once

#include <memory>

#include "configs/run_config.h"
#include "modules/model.h"
#include "modules/parameter_store.h"
#include "parallel/devices.h"
#include "parallel/process_groups.h"
#include "parallel/recording_communicator.h"
#include "parallel/topology.h"
#include "parallel/world.h"

namespace dsmoe::train {

/// A model, or a stage's slices of it, on its ranks, ready to compute: topology, groups, parameters
/// in flat buffers.
class Session {
 public:
  /// Sets this process's thread count. Weights are uninitialised; there are gradients
  /// of what `rate` trains. Collective over world. Throws ConfigError when the layout does not fit.
  Session(const config::RunConfig& config, parallel::Communicator& world, int64_t ranks_on_cores,
          const nn::TrainingRate& rate = nn::train_all());

  const config::RunConfig config;
  const parallel::Topology topology;
  parallel::Device device;
  parallel::RecordingCommunicator world;
  parallel::ProcessGroups groups;
  nn::Model model;
  nn::ParameterStore store;
};

/// Where this rank stands in the run's layout. Throws ConfigError, one message, when the layout
/// does not fit. Collective.
[[nodiscard]] parallel::Topology run_topology(const config::RunConfig& config,
                                              parallel::Communicator& world);

/// Threads a rank computes with: run.threads, or the cores it may use / ranks that share them.
[[nodiscard]] int64_t threads_per_rank(int64_t requested, int64_t ranks_on_cores);

/// The configuration that runs a model directory outside training: its own shape, one process or
/// all ranks as one expert group where that divides the experts.
[[nodiscard]] config::RunConfig config_of_directory(const std::string& model_directory,
                                                    int64_t world,
                                                    std::vector<std::string>& notices);

}  // namespace dsmoe::train
