#include "trainer/model_directory.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "configs/hf_config.h"
#include "modules/published_tensors.h"
#include "trainer/atomic_file.h"
#include "trainer/manifest.h"
#include "trainer/safetensors_directory.h"
#include "trainer/safetensors_writer.h"

namespace dsmoe::train {
namespace {

std::string shard_name(int64_t index, int64_t shards) {
  if (shards == 1) return kModelFile;
  char name[64];
  std::snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", static_cast<int>(index + 1),
                static_cast<int>(shards));
  return name;
}

bool writes(const nn::StoredTensor& tensor, const parallel::Topology& topology) {
  return tensor.group == nn::ParameterGroup::kExpert || topology.expert_rank() == 0;
}

void write_shard(const std::string& path, nn::ParameterStore& store, at::ScalarType dtype,
                 const parallel::Topology& topology) {
  std::vector<TensorSpec> specs;
  for (const nn::StoredTensor& t : store.tensors()) {
    if (writes(t, topology)) specs.push_back({t.name, dtype, t.shape});
  }
  SafetensorsWriter writer(path, specs);
  for (const nn::StoredTensor& t : store.tensors()) {
    if (writes(t, topology)) writer.write(t.name, store.weights().view(t).to(dtype));
  }
  writer.finish();
}

/// The index over the shards that now stand in the folder.
void write_index(const std::string& directory, int64_t shards) {
  std::map<std::string, std::string> weight_map;
  int64_t bytes = 0;
  for (int64_t s = 0; s < shards; ++s) {
    const auto file = SafetensorsFile::open(directory + "/" + shard_name(s, shards));
    for (const std::string& name : file.names()) {
      weight_map[name] = shard_name(s, shards);
      bytes += file.info(name).end - file.info(name).begin;
    }
  }
  write_safetensors_index(directory, weight_map, bytes);
}

std::string dtype_name(at::ScalarType dtype) {
  if (dtype == at::kDouble) return "float64";
  return dtype == at::kBFloat16 ? "bfloat16" : "float32";
}

std::string shape_text(const std::vector<int64_t>& shape) { return nlohmann::json(shape).dump(); }

/// Everything wrong with the tensors of a directory, a line each.
std::vector<std::string> complaints(const SafetensorsDirectory& files,
                                    const config::ModelConfig& model) {
  std::vector<std::string> lines;
  std::map<std::string, std::vector<int64_t>> expected;
  for (const auto& t : nn::published_tensors(model)) expected[t.name] = t.shape;
  for (const auto& [name, shape] : expected) {
    if (!files.contains(name)) {
      lines.push_back("missing    " + name + " " + shape_text(shape));
    } else if (files.file_of(name).info(name).shape != shape) {
      lines.push_back("misshapen  " + name + ": " +
                      shape_text(files.file_of(name).info(name).shape) + ", the model has " +
                      shape_text(shape));
    }
  }
  for (const std::string& name : files.names()) {
    if (expected.count(name) == 0) lines.push_back("unexpected " + name);
  }
  return lines;
}

void check_tensors(const std::string& directory, const SafetensorsDirectory& files,
                   const config::ModelConfig& model) {
  const auto lines = complaints(files, model);
  if (lines.empty()) return;
  constexpr size_t kShown = 20;
  std::string text =
      directory + ": " + std::to_string(lines.size()) + " tensors do not fit the configuration";
  for (size_t i = 0; i < std::min(kShown, lines.size()); ++i) text += "\n  " + lines[i];
  if (lines.size() > kShown) text += "\n  and " + std::to_string(lines.size() - kShown) + " more";
  throw CheckpointError(text + "\nhint: the model section must describe the model in this folder");
}

}  // namespace

void save_model_directory(const std::string& directory, const config::ModelConfig& model,
                          nn::ParameterStore& store, at::ScalarType dtype,
                          const data::Tokenizer& tokenizer, const parallel::Topology& topology,
                          parallel::Communicator& world) {
  const int64_t shards = topology.expert_size;
  if (topology.replica() == 0) {
    make_directories(directory);
    write_shard(directory + "/" + shard_name(topology.expert_rank(), shards), store, dtype,
                topology);
  }
  world.barrier();
  if (topology.rank != 0) return;
  if (shards > 1) write_index(directory, shards);
  write_file_atomically(directory + "/config.json",
                        config::to_hf_config_json(model, dtype_name(dtype)));
  write_file_atomically(directory + "/tokenizer.json", tokenizer.to_json());
  write_file_atomically(directory + "/tokenizer_config.json", tokenizer.config_json());
}

void load_model_directory(const std::string& directory, const config::ModelConfig& model,
                          nn::ParameterStore& store) {
  const at::NoGradGuard no_grad;
  const auto files = SafetensorsDirectory::open(directory);
  check_tensors(directory, files, model);
  for (const nn::StoredTensor& t : store.tensors()) {
    store.weights().view(t).copy_(files.read(t.name));
  }
  store.publish();
}

config::ModelConfig read_model_config(const std::string& directory,
                                      std::vector<std::string>& notices) {
  const std::string path = directory + "/config.json";
  return config::from_hf_config_json(read_file(path), path, notices);
}

std::string find_model_directory(const std::string& directory) {
  for (const std::string& place : {directory, directory + "/model"}) {
    if (std::filesystem::exists(place + "/config.json")) return place;
  }
  throw CheckpointError(directory + ": no model here: neither config.json nor model/config.json" +
                        "\nhint: give a Hugging Face directory or a step-NNNNNNNN directory");
}

void verify_model_directory(const std::string& model_directory) {
  const auto path = std::filesystem::weakly_canonical(model_directory);
  const std::string step = path.parent_path().string();
  if (path.filename() != "model" || !std::filesystem::exists(step + "/" + kManifestFile)) return;
  verify(step, "model/");
}

}  // namespace dsmoe::train
