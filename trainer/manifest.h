#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace dsmoe::train {

/// What one file of a checkpoint must be.
struct FileRecord {
  int64_t bytes = 0;
  std::string hash;                            ///< xxh3-128, 32 hexadecimal digits
  std::map<std::string, std::string> tensors;  ///< of a safetensors file: the hash of each tensor
};

/// manifest.json, written last into a checkpoint directory: what it holds and what it came from.
///
///     {"format": 1, "step": 100, "config_hash": "...", "layout": {"world": 2, "expert": 2,
///      "pipeline": 1, "replicas": 1}, "files": {"model/config.json": {"bytes": 812, "xxh3_128":
///      "..."}, "model/model.safetensors": {"bytes": ..., "xxh3_128": "...", "tensors": {NAME:
///      "..."}}}}
struct Manifest {
  int64_t step = 0;
  std::string config_hash;
  int64_t world = 1;
  int64_t expert = 1;
  int64_t pipeline = 1;
  int64_t replicas = 1;
  std::map<std::string, FileRecord> files;  ///< by path relative to the directory
};

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr int64_t kManifestFormat = 1;

/// xxh3-128 of some bytes, 32 hexadecimal digits; for configurations.
[[nodiscard]] std::string hash_text(std::string_view text);

/// Size and hashes of one file. Throws CheckpointError when it is missing, or when a *.safetensors
/// is malformed.
[[nodiscard]] FileRecord record_file(const std::string& path);

/// Records of all files below `directory` but its manifest, by relative path. known: those that
/// need not be read again.
[[nodiscard]] std::map<std::string, FileRecord> record_files(
    const std::string& directory, const std::map<std::string, FileRecord>& known = {});

/// Writes manifest.json, atomically and synced. Throws as throw_file_error.
void write_manifest(const std::string& directory, const Manifest& manifest);

/// Throws CheckpointError when it is missing, damaged or of another format.
[[nodiscard]] Manifest read_manifest(const std::string& directory);

/// Of several that read the same files: every count-th file, from `index`.
struct ReadersShare {
  int64_t index = 0;
  int64_t count = 1;
};

/// Reads every file and returns the manifest they agree with. Throws CheckpointError naming the
/// first file that does not, both sizes or hashes, and the damaged tensor; also when a directory
/// called step-N holds another step. `below`: only files whose relative path begins so, "model/".
/// share: only those; the manifest returned has them alone.
Manifest verify(const std::string& directory, std::string_view below = "", ReadersShare share = {});

}  // namespace dsmoe::train
