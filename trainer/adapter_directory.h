#pragma once

#include <string>

#include "configs/run_config.h"
#include "modules/parameter_store.h"
#include "parallel/process_groups.h"
#include "parallel/topology.h"
#include "trainer/peft_adapter.h"

namespace dsmoe::train {

/// The weights that an adapter stands beside.
struct AdapterBase {
  std::string path;
  std::string fingerprint;
};

/// Writes the run's adapters as peft reads them: adapter_config.json and adapter_model.safetensors,
/// float32 (float64 of a float64 run). Each expert rank of replica 0 hands its experts over in a
/// file that rank 0 then takes up. Collective over world.
void save_adapter_directory(const std::string& directory, const config::RunConfig& config,
                            const AdapterBase& base, nn::ParameterStore& store,
                            const parallel::Topology& topology, parallel::ProcessGroups& groups);

/// Fills the store's adapters from such a directory. Throws CheckpointError where it belongs to
/// other weights (both fingerprints named), has another rank or scale, or lacks a matrix. Local.
void load_adapter_directory(const std::string& directory, const config::RunConfig& config,
                            const AdapterBase& base, nn::ParameterStore& store);

/// Throws CheckpointError unless the adapter names these weights, or none.
void check_base(const PeftAdapter& adapter, const AdapterBase& base);

/// Adds what an adapter adds to each weight of a store, in double precision. Throws CheckpointError
/// where shapes differ. Local.
void merge_adapter(const PeftAdapter& adapter, nn::ParameterStore& store);

}  // namespace dsmoe::train
