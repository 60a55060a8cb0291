#pragma once

#include <cstdint>
#include <string>

namespace dsmoe::train {

/// Where a run stands, beyond weights and moments. Everything else follows from the configuration.
struct RunState {
  int64_t step = 0;             ///< steps done, skipped ones too
  int64_t sequences = 0;        ///< global sequences consumed: the data position
  int64_t tokens = 0;           ///< consumed
  int64_t optimizer_steps = 0;  ///< Adam's t
  int64_t skipped_in_row = 0;
  std::string data_fingerprint;  ///< of the training corpus
  int64_t threads = 0;           ///< per rank, for the bitwise notice
  std::string cpu_capability;    ///< of ATen, for the same
};

[[nodiscard]] std::string to_json(const RunState& state);
/// `path` stands in messages. Throws CheckpointError.
[[nodiscard]] RunState parse_run_state(const std::string& text, const std::string& path);

}  // namespace dsmoe::train
