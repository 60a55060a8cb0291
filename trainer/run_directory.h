#pragma once

#include <string>

#include "configs/run_config.h"

namespace dsmoe::train {

/// The places of one run, design section 5.
struct RunDirectory {
  explicit RunDirectory(const config::RunSection& run) : root(run.directory + "/" + run.name) {}

  std::string root;
  [[nodiscard]] std::string config() const { return root + "/config.yaml"; }
  [[nodiscard]] std::string metrics() const { return root + "/metrics.jsonl"; }
  [[nodiscard]] std::string routing() const { return root + "/routing"; }
  [[nodiscard]] std::string logits() const { return root + "/logits"; }
  [[nodiscard]] std::string noise_floor() const { return root + "/noise_floor.json"; }
  [[nodiscard]] std::string tensorboard() const { return root + "/tb"; }
  [[nodiscard]] std::string log() const { return root + "/log.txt"; }
  [[nodiscard]] std::string checkpoints() const { return root + "/checkpoints"; }
  [[nodiscard]] std::string done() const { return root + "/DONE"; }
};

}  // namespace dsmoe::train
