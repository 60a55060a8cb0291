#include "trainer/checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "configs/dump.h"
#include "configs/errors.h"
#include "configs/resolve.h"
#include "trainer/atomic_file.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/lora.h"
#include "trainer/manifest.h"
#include "trainer/model_directory.h"
#include "trainer/optimizer_files.h"

namespace dsmoe::train {
namespace {

/// One kind of optimizer state: its prefix in the files, and its buffers.
struct StateKind {
  std::string prefix;
  nn::FlatPair* buffers;
};

std::vector<StateKind> state_kinds(const Checkpointed& run) {
  std::vector<StateKind> kinds{{kFirstMoment, &run.optimizer.first_moments()},
                               {kSecondMoment, &run.optimizer.second_moments()}};
  if (run.store.has_masters()) kinds.push_back({kMaster, &run.store.masters()});
  return kinds;
}

/// Whether this rank writes what it has of a group: one of several that have the same does.
bool writes_state(nn::ParameterGroup group, const Checkpointed& run) {
  const nn::StateSharing& sharing = run.store.sharing();
  if (sharing.of(group).size > 1) return true;
  const bool first_replica = run.topology.replica() == 0;
  return group == nn::ParameterGroup::kExpert ? first_replica : run.topology.rank == 0;
}

bool shares_state(const Checkpointed& run) {
  return run.store.sharing().dense.size > 1 || run.store.sharing().expert.size > 1;
}

/// What this rank's moments or masters hold of a tensor.
at::Tensor values_of(const StateKind& kind, const nn::StoredTensor& t,
                     const nn::OwnedPiece& piece) {
  return kind.buffers->of(t.group).narrow(0, piece.state, piece.end - piece.begin);
}

void write_optimizer(const std::string& directory, const Checkpointed& run) {
  std::vector<StatePiece> pieces;
  for (const StateKind& kind : state_kinds(run)) {
    for (const nn::StoredTensor& t : run.store.tensors()) {
      const auto piece = run.store.owned(t);
      if (!piece || !writes_state(t.group, run)) continue;
      at::Tensor values = values_of(kind, t, *piece);
      if (values.numel() == t.numel) values = values.view(t.shape);
      pieces.push_back({kind.prefix + t.name, values, piece->begin, t.numel});
    }
  }
  make_directories(directory + "/optimizer");
  const bool shares = shares_state(run);
  if (!shares && run.topology.replica() > 0) return;
  write_optimizer_file(directory, shares ? run.topology.rank : run.topology.expert_rank(), pieces);
}

void read_optimizer(const std::string& directory, const Checkpointed& run) {
  const auto files = OptimizerFiles::open(directory);
  for (const StateKind& kind : state_kinds(run)) {
    for (const nn::StoredTensor& t : run.store.tensors()) {
      const auto piece = run.store.owned(t);
      if (!piece) continue;
      values_of(kind, t, *piece)
          .copy_(files.read_elements(kind.prefix + t.name, piece->begin, piece->end));
    }
  }
}

Manifest describe(const std::string& directory, const Checkpointed& run, int64_t step) {
  Manifest manifest;
  manifest.step = step;
  manifest.config_hash = hash_text(config::dump(run.config));
  manifest.world = run.topology.world;
  manifest.expert = run.topology.expert_size;
  manifest.replicas = run.topology.replicas();
  manifest.files = record_files(directory);
  return manifest;
}

/// Nothing only where nothing was saved: a run whose checkpoints are all damaged must not silently
/// begin again over its own metrics.
std::optional<std::string> newest_or_none(const std::string& checkpoints,
                                          std::vector<std::string>& warnings) {
  const auto found = newest_complete(checkpoints, warnings);
  if (found || warnings.empty()) return found;
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

std::string save_checkpoint(const std::string& checkpoints, const Checkpointed& run,
                            const RunState& state, const data::Tokenizer& tokenizer) {
  const bool first = run.topology.rank == 0;
  const std::string staging = checkpoints + "/" + step_directory_name(state.step) + ".tmp";
  if (first) make_staging_directory(checkpoints, state.step);
  run.world.barrier();
  if (uses_lora(run.config)) {
    save_adapter_directory(staging + "/adapter", run.config, run.base, run.store, run.topology,
                           run.groups);
  } else {
    save_model_directory(staging + "/model", run.config.model, run.store,
                         compute_dtype(run.config.run.precision), tokenizer, run.topology,
                         run.world);
  }
  write_optimizer(staging, run);
  run.world.barrier();
  const std::string final = checkpoints + "/" + step_directory_name(state.step);
  if (first) {
    write_file_atomically(staging + "/config.yaml", config::dump(run.config));
    write_file_atomically(staging + "/state.json", to_json(state));
    write_manifest(staging, describe(staging, run, state.step));
    publish(checkpoints, state.step);
    prune(checkpoints, run.config.checkpoint.keep, run.config.checkpoint.permanent_every);
  }
  run.world.barrier();
  return final;
}

std::optional<std::string> find_checkpoint(const std::string& checkpoints,
                                           const std::string& resume,
                                           std::vector<std::string>& warnings) {
  if (resume == "never") return std::nullopt;
  if (resume == "auto") return newest_or_none(checkpoints, warnings);
  verify(resume);
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
  read_optimizer(step_directory, run);
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
