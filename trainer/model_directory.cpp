#include "trainer/model_directory.h"

#include <cstdio>
#include <filesystem>
#include <map>

#include "configs/errors.h"
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

/// Where there are masters by way of a copy in their precision; to a device by way of the host.
void read_tensor(const PublishedWeights& weights, const nn::StoredTensor& tensor,
                 nn::ParameterStore& store) {
  const bool through_master = store.has_masters() && tensor.trains();
  const at::Tensor place = store.weights().view(tensor);
  if (!through_master && place.is_cpu()) return weights.read(tensor.name, place);
  const auto type = through_master ? store.masters().dense.scalar_type() : place.scalar_type();
  const at::Tensor values = at::empty(tensor.shape, type);
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

std::vector<NamedTensor> model_shard(const nn::ParameterStore& store, const nn::FlatPair& weights,
                                     const parallel::Topology& topology) {
  std::vector<NamedTensor> shard;
  for (const nn::StoredTensor& t : store.tensors()) {
    if (writes(t, topology)) shard.push_back({t.name, weights.view(t)});
  }
  for (const nn::StoredBuffer& b : buffers_to_write(store, topology)) {
    shard.push_back({b.name, b.values.clone()});
  }
  return shard;
}

void write_model_index(const std::string& directory, int64_t shards) {
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

void verify_model_directory(const std::string& model_directory, ReadersShare share) {
  if (const auto step = step_directory_of(model_directory)) verify(*step, "model/", share);
}

}  // namespace dsmoe::train
