#include "trainer/model_directory.h"

#include <cstdio>
#include <filesystem>
#include <map>

#include "configs/errors.h"
#include "configs/hf_config.h"
#include "trainer/atomic_file.h"
#include "trainer/manifest.h"
#include "trainer/published_weights.h"
#include "trainer/safetensors_directory.h"
#include "trainer/safetensors_writer.h"

namespace dsmoe::train {
namespace {

bool writes(const nn::StoredTensor& tensor, const parallel::Topology& topology) {
  return tensor.group == nn::ParameterGroup::kExpert || topology.expert_rank() == 0;
}

/// The buffers this rank writes, in their own type.
std::vector<nn::StoredBuffer> buffers_to_write(const nn::ParameterStore& store,
                                               const parallel::Topology& topology) {
  return topology.expert_rank() == 0 ? store.buffers() : std::vector<nn::StoredBuffer>{};
}

void write_shard(const std::string& path, nn::ParameterStore& store, at::ScalarType dtype,
                 const parallel::Topology& topology) {
  const auto buffers = buffers_to_write(store, topology);
  std::vector<TensorSpec> specs;
  for (const nn::StoredTensor& t : store.tensors()) {
    if (writes(t, topology)) specs.push_back({t.name, dtype, t.shape});
  }
  for (const auto& b : buffers)
    specs.push_back({b.name, b.values.scalar_type(), b.values.sizes().vec()});
  SafetensorsWriter writer(path, specs);
  for (const nn::StoredTensor& t : store.tensors()) {
    if (writes(t, topology)) writer.write(t.name, store.weights().view(t).to(dtype));
  }
  for (const auto& b : buffers) writer.write(b.name, b.values);
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

/// Where there are masters by way of a copy in their precision.
void read_tensor(const PublishedWeights& weights, const nn::StoredTensor& tensor,
                 nn::ParameterStore& store) {
  if (!store.has_masters() || !tensor.trains()) {
    return weights.read(tensor.name, store.weights().view(tensor));
  }
  const at::Tensor values = at::empty(tensor.shape, store.masters().dense.options());
  weights.read(tensor.name, values);
  store.set(tensor, values);
}

}  // namespace

std::string shard_name(int64_t index, int64_t shards) {
  if (shards == 1) return kModelFile;
  char name[64];
  std::snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", static_cast<int>(index + 1),
                static_cast<int>(shards));
  return name;
}

std::string hf_dtype_name(at::ScalarType dtype) {
  if (dtype == at::kDouble) return "float64";
  if (dtype == at::kHalf) return "float16";
  return dtype == at::kBFloat16 ? "bfloat16" : "float32";
}

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
                        config::to_hf_config_json(model, hf_dtype_name(dtype)));
  write_file_atomically(directory + "/tokenizer.json", tokenizer.to_json());
  write_file_atomically(directory + "/tokenizer_config.json", tokenizer.config_json());
}

void load_model_directory(const std::string& directory, const config::ModelConfig& model,
                          nn::ParameterStore& store) {
  const at::NoGradGuard no_grad;
  const auto weights = PublishedWeights::open(directory);
  weights.check(model);
  for (const nn::StoredTensor& t : store.tensors()) {
    if (!nn::is_adapter(t.name)) read_tensor(weights, t, store);
  }
  for (const nn::StoredBuffer& b : store.buffers()) weights.read(b.name, b.values);
}

std::optional<std::string> step_directory_of(const std::string& model_directory) {
  const auto path = std::filesystem::weakly_canonical(model_directory);
  const std::string step = path.parent_path().string();
  if (path.filename() != "model" || !std::filesystem::exists(step + "/" + kManifestFile)) return {};
  return step;
}

void verify_model_directory(const std::string& model_directory) {
  if (const auto step = step_directory_of(model_directory)) verify(*step, "model/");
}

}  // namespace dsmoe::train
