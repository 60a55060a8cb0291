#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "trainer/safetensors.h"

namespace dsmoe::train {

inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kIndexFile = "model.safetensors.index.json";

/// The weights of a Hugging Face model directory: model.safetensors, or several files and an index
/// `{"metadata": {"total_size": bytes}, "weight_map": {tensor: file}}`.
class SafetensorsDirectory {
 public:
  /// Opens every file. Throws CheckpointError when there is neither, and on an index that does not
  /// agree with its files: one missing or outside the directory, a tensor not where the index says,
  /// or in two files, or in none of the index, or a total size that is another.
  [[nodiscard]] static SafetensorsDirectory open(const std::string& directory);

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Sorted.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool contains(const std::string& name) const;
  /// The file that has the tensor. Throws CheckpointError when none has.
  [[nodiscard]] const SafetensorsFile& file_of(const std::string& name) const;
  [[nodiscard]] at::Tensor read(const std::string& name) const;

 private:
  void open_single();
  void open_shards();

  std::string path_;
  std::map<std::string, SafetensorsFile> files_;
  std::map<std::string, std::string> file_names_;  ///< tensor -> key of files_
};

/// Writes the index; `weight_map`: tensor -> file name. Throws as throw_file_error.
void write_safetensors_index(const std::string& directory,
                             const std::map<std::string, std::string>& weight_map,
                             int64_t total_bytes);

}  // namespace dsmoe::train
