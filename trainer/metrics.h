#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "trainer/file_handle.h"
#include "trainer/step_report.h"

namespace dsmoe::train {

/// One line of JSON without the newline, keys as in design section 6. Doubles survive the round
/// trip; NaN and infinities are null; `layers` and `eval` are absent when empty.
[[nodiscard]] std::string to_json(const StepReport& report);

/// The same numbers by name, for TensorBoard: "train/loss", "load/max_vio", "eval/webster/loss",
/// "layers/3/load/max_vio" with the layer's index in the model. Left out: what is not finite.
[[nodiscard]] std::vector<std::pair<std::string, double>> scalars_of(const StepReport& report);

/// What cut_back found.
struct CutBack {
  int64_t kept = 0;
  int64_t later = 0;    ///< removed: steps after the one asked for
  int64_t damaged = 0;  ///< removed: not a JSON object with a step, such as a torn last line
};

/// Removes, atomically, the lines of steps after `step` and the damaged ones from a metrics.jsonl.
/// A file that does not exist is an empty one. Throws as throw_file_error.
CutBack cut_back(const std::string& path, int64_t step);

/// runs/NAME/metrics.jsonl, open for appending.
class MetricsFile {
 public:
  /// Creates the file if it is not there. Throws as throw_file_error.
  explicit MetricsFile(const std::string& path);
  /// One line, in the file when this returns.
  void append(const StepReport& report);

 private:
  FileHandle file_;
};

}  // namespace dsmoe::train
