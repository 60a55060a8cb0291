#pragma once

#include <string>
#include <vector>

#include "configs/run_config.h"
#include "modules/parameter_store.h"
#include "parallel/process_groups.h"
#include "parallel/topology.h"
#include "trainer/peft_adapter.h"
#include "trainer/safetensors_writer.h"

namespace dsmoe::train {

/// The weights that an adapter stands beside.
struct AdapterBase {
  std::string path;
  std::string fingerprint;
};

/// What this rank holds of the run's adapters, from its masters where there are some; dense ones
/// stand on all ranks of a stage, and its first has them here. Collective over data and
/// expert_replicas.
[[nodiscard]] std::vector<NamedTensor> adapter_part(nn::ParameterStore& store,
                                                    const parallel::Topology& topology,
                                                    parallel::ProcessGroups& groups);

/// The file in which a shard's ranks hand their part over.
[[nodiscard]] std::string adapter_part_file(int64_t shard);

/// Makes of the parts in a directory what peft reads, adapter_config.json and
/// adapter_model.safetensors, float32 (float64 of a float64 run), and removes them. Local.
void join_adapter_parts(const std::string& directory, const config::RunConfig& config,
                        const AdapterBase& base, int64_t parts);

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
