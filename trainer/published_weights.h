#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "configs/model_config.h"
#include "trainer/safetensors_directory.h"

namespace dsmoe::train {

/// Elements that are read or written at a time, so that no tensor stands in memory twice.
inline constexpr int64_t kPieceElements = int64_t{1} << 20;

/// The weights of a model directory under the published names, one tensor an expert, whether the
/// files hold them so or stacked as newer transformers save them: `mlp.experts.gate_up_proj`
/// [E, 2F, M], gate rows first, and `mlp.experts.down_proj` [E, M, F]. F64, F32, BF16 or F16.
class PublishedWeights {
 public:
  /// Reads headers only. Throws CheckpointError as SafetensorsDirectory::open, and on a tensor that
  /// stands there in both forms.
  [[nodiscard]] static PublishedWeights open(const std::string& directory);

  /// Throws CheckpointError listing tensors that are missing, unexpected, of another shape or of a
  /// dtype that is no floating-point one.
  void check(const config::ModelConfig& model) const;

  [[nodiscard]] c10::ScalarType dtype(const std::string& name) const;
  /// `count` elements from `begin` on in row-major order, one dimension, in the file's dtype.
  [[nodiscard]] at::Tensor read_elements(const std::string& name, int64_t begin,
                                         int64_t count) const;
  /// Fills `out`, contiguous and of the tensor's shape, converting dtypes, a few MiB at a time.
  void read(const std::string& name, const at::Tensor& out) const;

 private:
  /// Where a published tensor lies: in a file's tensor, from an element on.
  struct Place {
    std::string stored;  ///< the name in the file
    std::vector<int64_t> shape;
    int64_t begin = 0;
  };

  explicit PublishedWeights(SafetensorsDirectory files);
  void place(const std::string& name, Place place);
  void place_stacked(const std::string& stored, const std::string& prefix, bool gate_up);
  [[nodiscard]] std::string complaint(const std::string& name,
                                      const std::vector<int64_t>& shape) const;

  SafetensorsDirectory files_;
  std::map<std::string, Place> places_;
};

}  // namespace dsmoe::train
