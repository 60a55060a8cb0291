#include "trainer/safetensors_directory.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "configs/errors.h"
#include "trainer/atomic_file.h"
#include "trainer/strict_json.h"

namespace dsmoe::train {
namespace {

using nlohmann::json;

/// A shard must lie in the directory itself: an index is not trusted with other paths.
void check_file_name(const std::string& name, const std::string& index) {
  const std::filesystem::path path(name);
  const bool whole = name.find('\0') == std::string::npos;
  if (name.empty() || name == "." || name == ".." || path.filename() != path || !whole) {
    reject_file(index, "names '" + name + "', which is not a file of this directory");
  }
}

std::map<std::string, std::string> weight_map_of(const json& root, const std::string& index) {
  const auto found = root.find("weight_map");
  if (found == root.end() || !found->is_object()) reject_file(index, "has no weight_map");
  std::map<std::string, std::string> weight_map;
  for (const auto& [tensor, file] : found->items()) {
    if (!file.is_string()) reject_file(index, "tensor '" + tensor + "' has no file name");
    check_file_name(file.get<std::string>(), index);
    weight_map[tensor] = file.get<std::string>();
  }
  return weight_map;
}

/// Not every published index has metadata, nor a total in them.
json total_of(const json& root, const std::string& index) {
  const json metadata = root.value("metadata", json());
  if (metadata.is_null()) return json();
  if (!metadata.is_object()) reject_file(index, "its metadata are not an object");
  return metadata.value("total_size", json());
}

void check_total(const json& root, int64_t bytes, const std::string& index) {
  const json total = total_of(root, index);
  if (total.is_null() || total == bytes) return;
  throw CheckpointError(index + ": gives a total_size of " + total.dump() + ", its tensors have " +
                        std::to_string(bytes) +
                        " bytes\nhint: copy the shards again; if they are as published, the index "
                        "is wrong: remove its total_size");
}

int64_t bytes_of(const SafetensorsFile& file) {
  int64_t bytes = 0;
  for (const std::string& name : file.names()) {
    bytes += file.info(name).end - file.info(name).begin;
  }
  return bytes;
}

/// Every tensor of `file`, called `file_name`, stands there in the index, and no other.
void check_shard(const SafetensorsFile& file, const std::string& file_name,
                 const std::map<std::string, std::string>& weight_map, const std::string& index) {
  for (const std::string& name : file.names()) {
    const auto found = weight_map.find(name);
    if (found == weight_map.end() || found->second != file_name) {
      reject_file(index, "does not place tensor '" + name + "' in " + file_name + ", which has it");
    }
  }
  for (const auto& [name, place] : weight_map) {
    if (place == file_name && !file.contains(name)) {
      reject_file(index, "places tensor '" + name + "' in " + file_name + ", which lacks it");
    }
  }
}

}  // namespace

SafetensorsDirectory SafetensorsDirectory::open(const std::string& directory) {
  SafetensorsDirectory result;
  result.path_ = directory;
  if (std::filesystem::exists(directory + "/" + kModelFile)) {
    result.open_single();
  } else if (std::filesystem::exists(directory + "/" + kIndexFile)) {
    result.open_shards();
  } else {
    throw CheckpointError(directory + ": has neither " + kModelFile + " nor " + kIndexFile +
                          "\nhint: name a Hugging Face model directory or a step directory");
  }
  return result;
}

void SafetensorsDirectory::open_single() {
  SafetensorsFile file = SafetensorsFile::open(path_ + "/" + kModelFile);
  for (const std::string& name : file.names()) file_names_[name] = kModelFile;
  files_.emplace(kModelFile, std::move(file));
}

void SafetensorsDirectory::open_shards() {
  const std::string index = path_ + "/" + kIndexFile;
  const json root = parse_strict_json(read_file(index), index);
  file_names_ = weight_map_of(root, index);
  int64_t bytes = 0;
  for (const auto& [tensor, file_name] : file_names_) {
    if (files_.count(file_name) != 0) continue;
    SafetensorsFile file = SafetensorsFile::open(path_ + "/" + file_name);
    check_shard(file, file_name, file_names_, index);
    bytes += bytes_of(file);
    files_.emplace(file_name, std::move(file));
  }
  check_total(root, bytes, index);
}

std::vector<std::string> SafetensorsDirectory::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : file_names_) names.push_back(name);
  return names;
}

bool SafetensorsDirectory::contains(const std::string& name) const {
  return file_names_.count(name) != 0;
}

const SafetensorsFile& SafetensorsDirectory::file_of(const std::string& name) const {
  const auto found = file_names_.find(name);
  if (found == file_names_.end()) {
    throw CheckpointError(path_ + ": has no tensor '" + name +
                          "'\nhint: check that config.json and the weights belong together");
  }
  return files_.at(found->second);
}

at::Tensor SafetensorsDirectory::read(const std::string& name) const {
  return file_of(name).read(name);
}

void write_safetensors_index(const std::string& directory,
                             const std::map<std::string, std::string>& weight_map,
                             int64_t total_bytes) {
  const json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
  write_file_atomically(directory + "/" + kIndexFile, index.dump(/*indent=*/2) + "\n");
}

}  // namespace dsmoe::train
