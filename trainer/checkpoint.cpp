#include "trainer/checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "configs/dump.h"
#include "configs/errors.h"
#include "configs/resolve.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/lora.h"
#include "trainer/manifest.h"
#include "trainer/model_directory.h"
#include "trainer/newest_checkpoint.h"
#include "trainer/optimizer_state.h"

namespace dsmoe::train {
namespace {

/// Nothing only where nothing was saved: a run whose checkpoints are all damaged must not silently
/// begin again over its own metrics.
std::optional<std::string> newest_or_none(const std::string& checkpoints,
                                          std::vector<std::string>& warnings,
                                          parallel::Communicator& world) {
  const auto found = newest_complete(checkpoints, warnings, world);
  if (found || warnings.empty()) return found;
  if (world.rank() > 0) throw PeerFailed();
  std::string text = checkpoints + ": no checkpoint here is whole:";
  for (const std::string& warning : warnings) text += "\n  " + warning;
  throw CheckpointError(text + "\nhint: run.resume=never starts over; another run.name, too");
}

/// Whether a key's value is part of what the run computes (design section 8.5).
bool must_match(const std::string& key) {
  for (const char* exact : {"batch.sequences", "batch.pool", "batch.ramp_from", "batch.ramp_steps",
                            "run.seed", "run.precision"}) {
    if (key == exact) return true;
  }
  if (key == "model.preset" || key == "model.init_from" || key.rfind("data.eval", 0) == 0) {
    return false;
  }
  for (const char* section : {"model.", "finetune.", "data.", "balance.", "router.", "drop."}) {
    if (key.rfind(section, 0) == 0) return true;
  }
  return false;
}

}  // namespace

std::optional<std::string> find_checkpoint(const std::string& checkpoints,
                                           const std::string& resume,
                                           std::vector<std::string>& warnings,
                                           parallel::Communicator& world) {
  if (resume == "never") return std::nullopt;
  if (resume == "auto") return newest_or_none(checkpoints, warnings, world);
  agree(world, [&] { verify(resume, "", {world.rank(), world.size()}); });
  return resume;
}

void check_same_run(const std::string& step_directory, const config::RunConfig& config) {
  const std::string path = step_directory + "/config.yaml";
  const auto saved = config::resolve_text(read_file(path), path, {}, {}).config;
  std::string text;
  for (const config::Difference& d : config::differences(saved, config)) {
    const auto& allowed = config.run.allow_change;
    if (!must_match(d.key) || std::find(allowed.begin(), allowed.end(), d.key) != allowed.end()) {
      continue;
    }
    text += "\n  " + d.key + ": " + d.left + " in the checkpoint, now " + d.right;
  }
  if (text.empty()) return;
  throw CheckpointError(step_directory +
                        ": the configuration differs in what a run must keep:" + text +
                        "\nhint: another run.name starts a new run; run.allow_change=[key] " +
                        "permits a change; run.resume=never starts over");
}

RunState load_checkpoint(const std::string& step_directory, const Checkpointed& run) {
  const at::NoGradGuard no_grad;
  if (uses_lora(run.config)) {
    load_adapter_directory(step_directory + "/adapter", run.config, run.base, run.store);
  } else {
    load_model_directory(step_directory + "/model", run.config.model, run.store);
  }
  read_optimizer_state(step_directory, run);
  const std::string path = step_directory + "/state.json";
  RunState state = parse_run_state(read_file(path), path);
  run.optimizer.set_steps(state.optimizer_steps);
  return state;
}

at::ScalarType compute_dtype(config::Precision precision) {
  if (precision == config::Precision::kFp64) return at::kDouble;
  return precision == config::Precision::kBf16 ? at::kBFloat16 : at::kFloat;
}

}  // namespace dsmoe::train
