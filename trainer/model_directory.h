#pragma once

#include <optional>
#include <string>
#include <vector>

#include "configs/model_config.h"
#include "modules/parameter_store.h"
#include "parallel/topology.h"
#include "trainer/manifest.h"
#include "trainer/safetensors_writer.h"

namespace dsmoe::train {

/// What this rank, of replica 0, writes of a Hugging Face model directory, under the published
/// names: its experts, and as the first of its stage's expert group the dense tensors. Views of
/// `weights`, which are the store's or a copy of them; copies of the buffers.
[[nodiscard]] std::vector<NamedTensor> model_shard(const nn::ParameterStore& store,
                                                   const nn::FlatPair& weights,
                                                   const parallel::Topology& topology);

/// Writes model.safetensors.index.json over the shards that stand in the folder. Local.
void write_model_index(const std::string& directory, int64_t shards);

/// Fills the store's weights from a model directory (one file, or shards with an index), each rank
/// reading what it holds, and converts dtypes. Throws CheckpointError listing tensors that are
/// missing, unexpected or of another shape. Local.
void load_model_directory(const std::string& directory, const config::ModelConfig& model,
                          nn::ParameterStore& store);

/// model.safetensors, or the name of one of several files, from 0.
[[nodiscard]] std::string shard_name(int64_t index, int64_t shards);

/// What config.json calls a dtype: "float32".
[[nodiscard]] std::string hf_dtype_name(at::ScalarType dtype);

/// The step directory that a model directory is a part of, if it is one of a run's.
[[nodiscard]] std::optional<std::string> step_directory_of(const std::string& model_directory);

/// Where `model_directory` is the model/ of a step directory, checks its files against the
/// manifest: reads all of them, or this reader's share. Throws CheckpointError. Other directories
/// have nothing to check by.
void verify_model_directory(const std::string& model_directory, ReadersShare share = {});

}  // namespace dsmoe::train
