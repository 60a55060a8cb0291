#pragma once

#include <map>
#include <string>
#include <vector>

#include "trainer/safetensors.h"
#include "trainer/safetensors_writer.h"

namespace dsmoe::train {

// Prefixes of the optimizer's tensors; what follows is the published name of the parameter.
inline constexpr const char* kFirstMoment = "exp_avg.";
inline constexpr const char* kSecondMoment = "exp_avg_sq.";
inline constexpr const char* kMaster = "master.";  ///< float32, of a run that computes in bf16

/// Numbers begin .. begin + values.numel() - 1 of a tensor of `numel`, in row-major order.
struct StatePiece {
  std::string name;
  at::Tensor values;
  int64_t begin = 0;
  int64_t numel = 0;
};

/// optimizer/state-NUMBER.safetensors, relative to a step directory.
[[nodiscard]] std::string optimizer_file(int64_t number);

/// Writes that file of a step directory. A piece that is no whole tensor
/// is one-dimensional, and the file's metadata say `"range.NAME": "BEGIN:END"`.
void write_optimizer_file(const std::string& step_directory, int64_t number,
                          const std::vector<StatePiece>& pieces);

/// The optimizer/ folder of a step directory, whatever layout wrote it.
class OptimizerFiles {
 public:
  /// Reads headers only. Without such files there are no tensors.
  [[nodiscard]] static OptimizerFiles open(const std::string& step_directory);

  [[nodiscard]] bool contains(const std::string& name) const { return places_.contains(name); }
  /// Elements [begin, end) in row-major order, one dimension; no other part of a file is read.
  /// Throws CheckpointError where the files do not hold all of them.
  [[nodiscard]] at::Tensor read_elements(const std::string& name, int64_t begin, int64_t end) const;

 private:
  struct Place {
    size_t file = 0;
    int64_t begin = 0;
    int64_t end = 0;
  };
  void add(const std::string& path);

  std::string directory_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::vector<Place>> places_;
};

}  // namespace dsmoe::train
