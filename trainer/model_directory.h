#pragma once

#include <optional>
#include <string>

#include "configs/model_config.h"
#include "data/tokenizer.h"
#include "modules/parameter_store.h"
#include "parallel/communicator.h"
#include "parallel/topology.h"

namespace dsmoe::train {

/// Writes a Hugging Face model directory: one shard per expert rank under the published names
/// (rank 0's also holds the dense tensors), model.safetensors.index.json, config.json and
/// tokenizer.json. Values are the masters, rounded to bf16 where dtype says so. Ranks of replica 0
/// write; each file is synced. Collective over world.
void save_model_directory(const std::string& directory, const config::ModelConfig& model,
                          nn::ParameterStore& store, at::ScalarType dtype,
                          const data::Tokenizer& tokenizer, const parallel::Topology& topology,
                          parallel::Communicator& world);

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
/// manifest: reads all of them. Throws CheckpointError. Other directories have nothing to check by.
void verify_model_directory(const std::string& model_directory);

}  // namespace dsmoe::train
