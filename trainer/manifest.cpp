#include "trainer/manifest.h"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "configs/errors.h"
#include "trainer/atomic_file.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/safetensors.h"
#include "trainer/strict_json.h"

namespace dsmoe::train {
namespace {

using nlohmann::json;

constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr const char* kHint =
    "\nhint: resume from another step directory, or copy this one again from where it is whole";

std::string hex(const XXH128_hash_t& hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : canonical.digest) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

std::string hash_range(const FileHandle& file, int64_t begin, int64_t end) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       &XXH3_freeState);
  XXH3_128bits_reset(state.get());
  std::vector<char> chunk(std::min(kChunkBytes, static_cast<size_t>(end - begin)));
  while (begin < end) {
    const size_t bytes = std::min(chunk.size(), static_cast<size_t>(end - begin));
    file.read_at(begin, chunk.data(), bytes);
    XXH3_128bits_update(state.get(), chunk.data(), bytes);
    begin += static_cast<int64_t>(bytes);
  }
  return hex(XXH3_128bits_digest(state.get()));
}

std::map<std::string, std::string> hash_tensors(const FileHandle& file) {
  const SafetensorsFile tensors = SafetensorsFile::open(file.path());
  std::map<std::string, std::string> hashes;
  for (const std::string& name : tensors.names()) {
    const auto [begin, end] = tensors.byte_range(name);
    hashes[name] = hash_range(file, begin, end);
  }
  return hashes;
}

bool is_safetensors(const std::string& path) {
  return std::filesystem::path(path).extension() == ".safetensors";
}

json to_json(const FileRecord& record) {
  json result = {{"bytes", record.bytes}, {"xxh3_128", record.hash}};
  if (!record.tensors.empty()) result["tensors"] = record.tensors;
  return result;
}

FileRecord record_from(const json& value) {
  FileRecord record;
  record.bytes = value.at("bytes").get<int64_t>();
  record.hash = value.at("xxh3_128").get<std::string>();
  if (value.contains("tensors")) value.at("tensors").get_to(record.tensors);
  return record;
}

Manifest manifest_from(const json& value) {
  Manifest manifest;
  manifest.step = value.at("step").get<int64_t>();
  manifest.config_hash = value.at("config_hash").get<std::string>();
  manifest.world = value.at("layout").at("world").get<int64_t>();
  manifest.expert = value.at("layout").at("expert").get<int64_t>();
  manifest.pipeline = value.at("layout").value("pipeline", int64_t{1});
  manifest.replicas = value.at("layout").at("replicas").get<int64_t>();
  for (const auto& [path, record] : value.at("files").items()) {
    manifest.files[path] = record_from(record);
  }
  return manifest;
}

/// Which part of a safetensors file is damaged, for the message.
std::string damaged_part(const FileHandle& file, const FileRecord& record) {
  if (record.tensors.empty()) return "";
  try {
    for (const auto& [name, hash] : hash_tensors(file)) {
      const auto expected = record.tensors.find(name);
      if (expected == record.tensors.end() || expected->second != hash) {
        return "; tensor '" + name + "' is damaged";
      }
    }
  } catch (const CheckpointError&) {
  }
  return "; its header is damaged";
}

void check_size(const FileHandle& file, const FileRecord& record) {
  if (file.size() == record.bytes) return;
  throw CheckpointError(file.path() + ": has " + std::to_string(file.size()) +
                        " bytes, the manifest says " + std::to_string(record.bytes) + kHint);
}

void check_hash(const FileHandle& file, const FileRecord& record) {
  const std::string hash = hash_range(file, 0, file.size());
  if (hash == record.hash) return;
  throw CheckpointError(file.path() + ": its xxh3-128 is " + hash + ", the manifest says " +
                        record.hash + damaged_part(file, record) + kHint);
}

void check_step(const std::string& directory, const Manifest& manifest) {
  const auto name = std::filesystem::path(directory + "/").lexically_normal().parent_path();
  const auto step = parse_step_directory(name.filename().string());
  if (step && *step != manifest.step) {
    throw CheckpointError(directory + ": holds step " + std::to_string(manifest.step) +
                          ", its name says " + std::to_string(*step) + kHint);
  }
}

}  // namespace

std::string hash_text(std::string_view text) { return hex(XXH3_128bits(text.data(), text.size())); }

FileRecord record_file(const std::string& path) {
  const FileHandle file = FileHandle::open_for_reading(path);
  FileRecord record;
  record.bytes = file.size();
  record.hash = hash_range(file, 0, record.bytes);
  if (is_safetensors(path)) record.tensors = hash_tensors(file);
  return record;
}

std::map<std::string, FileRecord> record_files(const std::string& directory,
                                               const std::map<std::string, FileRecord>& known) {
  std::map<std::string, FileRecord> records;
  std::error_code error;
  const std::filesystem::recursive_directory_iterator all(directory, error);
  if (error) throw_file_error("read", directory, error.value());
  for (const auto& entry : all) {
    const std::string name = entry.path().lexically_relative(directory).generic_string();
    if (entry.is_regular_file() && name != kManifestFile) {
      const auto found = known.find(name);
      records[name] = found != known.end() ? found->second : record_file(entry.path().string());
    }
  }
  return records;
}

void write_manifest(const std::string& directory, const Manifest& manifest) {
  nlohmann::ordered_json root = {{"format", kManifestFormat},
                                 {"step", manifest.step},
                                 {"config_hash", manifest.config_hash},
                                 {"layout",
                                  {{"world", manifest.world},
                                   {"expert", manifest.expert},
                                   {"pipeline", manifest.pipeline},
                                   {"replicas", manifest.replicas}}},
                                 {"files", nlohmann::ordered_json::object()}};
  for (const auto& [path, record] : manifest.files) root["files"][path] = to_json(record);
  write_file_atomically(directory + "/" + kManifestFile, root.dump(/*indent=*/1) + "\n");
}

Manifest read_manifest(const std::string& directory) {
  const std::string path = directory + "/" + kManifestFile;
  const json root = parse_strict_json(read_file(path), path);
  const json format = root.value("format", json());
  if (format != kManifestFormat) {
    throw CheckpointError(path + ": is of format " + format.dump() + ", this program reads " +
                          std::to_string(kManifestFormat) +
                          "\nhint: use the version of dsmoe that wrote it");
  }
  try {
    return manifest_from(root);
  } catch (const json::exception& error) {
    reject_file(path, std::string("lacks something: ") + error.what());
  }
}

Manifest verify(const std::string& directory, std::string_view below, ReadersShare share) {
  Manifest manifest = read_manifest(directory);
  check_step(directory, manifest);
  std::erase_if(manifest.files, [&](const auto& file) { return !file.first.starts_with(below); });
  int64_t number = 0;
  std::erase_if(manifest.files, [&](const auto&) { return number++ % share.count != share.index; });
  // Sizes first: a torn copy is found without reading it all.
  for (const auto& [name, record] : manifest.files) {
    check_size(FileHandle::open_for_reading(directory + "/" + name), record);
  }
  for (const auto& [name, record] : manifest.files) {
    check_hash(FileHandle::open_for_reading(directory + "/" + name), record);
  }
  return manifest;
}

}  // namespace dsmoe::train
