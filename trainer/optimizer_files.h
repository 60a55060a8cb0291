#pragma once

#include <string>
#include <vector>

#include "trainer/safetensors.h"

namespace dsmoe::train {

// Prefixes of the optimizer's tensors; what follows is the published name of the parameter.
inline constexpr const char* kFirstMoment = "exp_avg.";
inline constexpr const char* kSecondMoment = "exp_avg_sq.";
inline constexpr const char* kMaster = "master.";  ///< float32, of a run that computes in bf16

/// The file of one expert rank in a step directory.
[[nodiscard]] std::string optimizer_file(const std::string& step_directory, int64_t expert_rank);

/// The optimizer/ folder of a step directory, whatever layout wrote it.
class OptimizerFiles {
 public:
  /// Reads headers only. Without such files there are no tensors.
  [[nodiscard]] static OptimizerFiles open(const std::string& step_directory);

  /// The file that holds a tensor, or null.
  [[nodiscard]] const SafetensorsFile* find(const std::string& name) const;

 private:
  std::vector<SafetensorsFile> files_;
};

}  // namespace dsmoe::train
