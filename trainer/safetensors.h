#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "trainer/file_handle.h"
#include "trainer/safetensors_header.h"

namespace dsmoe::train {

/// The published name of a torch dtype ("F32"). Throws c10::Error for one the format lacks.
[[nodiscard]] std::string safetensors_dtype(c10::ScalarType type);

/// A safetensors file, open for reading. Reads by pread into owned memory, so that a file cut short
/// meanwhile is an error, not a crash; several threads may read at once.
class SafetensorsFile {
 public:
  /// Reads and validates the header. Throws CheckpointError naming the file and the tensor.
  [[nodiscard]] static SafetensorsFile open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return file_.path(); }
  /// Sorted.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool contains(const std::string& name) const;
  /// Throws CheckpointError when there is no such tensor.
  [[nodiscard]] const TensorInfo& info(const std::string& name) const;
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const;
  /// Throws CheckpointError for a dtype that torch lacks.
  [[nodiscard]] c10::ScalarType dtype(const std::string& name) const;

  /// First and one-past-last byte of the tensor in the file.
  [[nodiscard]] std::pair<int64_t, int64_t> byte_range(const std::string& name) const;

  /// The whole tensor, on the CPU.
  [[nodiscard]] at::Tensor read(const std::string& name) const;
  /// Rows [begin, end) of the first dimension.
  [[nodiscard]] at::Tensor read_rows(const std::string& name, int64_t begin, int64_t end) const;
  /// Elements [begin, end) in row-major order, one dimension.
  [[nodiscard]] at::Tensor read_elements(const std::string& name, int64_t begin, int64_t end) const;
  /// Fills `out`, contiguous, on the CPU and of the tensor's dtype, with elements from `begin` on.
  void read_into(const std::string& name, int64_t begin, const at::Tensor& out) const;

 private:
  SafetensorsFile(FileHandle file, SafetensorsHeader header, int64_t data_start);

  FileHandle file_;
  SafetensorsHeader header_;
  int64_t data_start_;
};

}  // namespace dsmoe::train
