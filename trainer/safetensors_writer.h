#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "trainer/file_handle.h"
#include "trainer/safetensors_header.h"

namespace dsmoe::train {

using SafetensorsMetadata = std::map<std::string, std::string>;

/// What a tensor will be, before its values are there.
struct TensorSpec {
  std::string name;
  c10::ScalarType dtype;
  std::vector<int64_t> shape;
};

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// Writes a safetensors file tensor by tensor, so that only one is in memory at a time. The layout
/// is the reference writer's: descending dtype alignment, then name; header padded to 8 bytes.
class SafetensorsWriter {
 public:
  /// Creates `path` and writes the header. Throws as throw_file_error; c10::Error on equal names.
  SafetensorsWriter(const std::string& path, std::vector<TensorSpec> specs,
                    const SafetensorsMetadata& metadata = {{"format", "pt"}});

  /// In any order. Any device, contiguous or not; dtype and shape as announced, else c10::Error.
  void write(const std::string& name, const at::Tensor& tensor);
  /// Elements from `begin` on, in row-major order; the pieces together must be the whole.
  void write_elements(const std::string& name, int64_t begin, const at::Tensor& elements);
  /// Checks that every byte was written, and syncs. Throws c10::Error naming a tensor left out.
  void finish();

 private:
  FileHandle file_;
  std::map<std::string, TensorInfo> infos_;
  std::map<std::string, int64_t> written_bytes_;
  int64_t data_start_ = 0;
};

/// Writes and syncs `path`, not atomically: checkpoint directories are renamed as a whole.
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const SafetensorsMetadata& metadata = {{"format", "pt"}});

}  // namespace dsmoe::train
