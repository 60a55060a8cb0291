#include "trainer/checkpoint_job.h"

#include <filesystem>

#include "configs/dump.h"
#include "configs/hf_config.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/lora.h"
#include "trainer/model_directory.h"
#include "trainer/optimizer_state.h"

namespace dsmoe::train {
namespace {

constexpr const char* kRecords = "/records";  ///< of each rank, until rank 0 has put them together

/// The buffers, or copies of what this rank writes of them.
nn::FlatPair kept(const std::string& name, const nn::FlatPair& pair, CopyPool* copies,
                  bool writes_dense) {
  if (copies == nullptr) return pair;
  return {writes_dense ? copies->copy(name + "dense", pair.dense) : at::Tensor(),
          copies->copy(name + "expert", pair.expert)};
}

Manifest describe(const Checkpointed& run, int64_t step) {
  Manifest manifest;
  manifest.step = step;
  manifest.config_hash = hash_text(config::dump(run.config));
  manifest.world = run.topology.world;
  manifest.expert = run.topology.expert_size;
  manifest.pipeline = run.topology.stages;
  manifest.replicas = run.topology.replicas();
  return manifest;
}

std::vector<TextFile> texts_of(const Checkpointed& run, const RunState& state,
                               const data::Tokenizer& tokenizer) {
  std::vector<TextFile> texts{{"config.yaml", config::dump(run.config)},
                              {"state.json", to_json(state)}};
  if (uses_lora(run.config)) return texts;
  const std::string dtype = hf_dtype_name(compute_dtype(run.config.run.precision));
  texts.push_back({"model/config.json", config::to_hf_config_json(run.config.model, dtype)});
  texts.push_back({"model/tokenizer.json", tokenizer.to_json()});
  texts.push_back({"model/tokenizer_config.json", tokenizer.config_json()});
  return texts;
}

}  // namespace

at::Tensor CopyPool::copy(const std::string& name, const at::Tensor& tensor) {
  at::Tensor& copy = copies_[name];
  if (!copy.defined()) copy = at::empty_like(tensor, at::MemoryFormat::Contiguous);
  return copy.copy_(tensor);
}

CheckpointJob::CheckpointJob(std::string checkpoints, const Checkpointed& run,
                             const RunState& state, const data::Tokenizer& tokenizer,
                             CopyPool* copies)
    : checkpoints_(std::move(checkpoints)),
      staging_(checkpoints_ + "/" + step_directory_name(state.step) + ".tmp"),
      config_(run.config),
      base_(run.base),
      rank_(run.topology.rank),
      shards_(run.topology.shards()),
      manifest_(describe(run, state.step)) {
  const at::NoGradGuard no_grad;
  agree(run.world, [&] {
    if (run.topology.rank != 0) return;
    make_staging_directory(checkpoints_, state.step);
    texts_ = texts_of(run, state, tokenizer);
  });
  if (uses_lora(config_)) {
    take_adapter(run, copies);
  } else {
    take_model(run, copies);
  }
  take_optimizer(run, copies);
}

void CheckpointJob::take_model(const Checkpointed& run, CopyPool* copies) {
  if (run.topology.replica() > 0) return;
  weights_file_ = "model/" + shard_name(run.topology.shard(), shards_);
  weights_ = model_shard(
      run.store, kept("weights.", run.store.weights(), copies, run.topology.expert_rank() == 0),
      run.topology);
}

void CheckpointJob::take_adapter(const Checkpointed& run, CopyPool* copies) {
  std::vector<NamedTensor> part = adapter_part(run.store, run.topology, run.groups);
  if (run.topology.replica() > 0) return;
  weights_file_ = "adapter/" + adapter_part_file(run.topology.shard());
  for (NamedTensor& one : part) {
    if (copies != nullptr) one.tensor = copies->copy(one.name, one.tensor);
  }
  weights_ = std::move(part);
}

void CheckpointJob::take_optimizer(const Checkpointed& run, CopyPool* copies) {
  const bool shares = run.store.sharing().any();
  if (!shares && run.topology.replica() > 0) return;
  optimizer_file_ = shares ? run.topology.rank : run.topology.shard();
  for (const StateKind& kind : state_kinds(run)) {
    const auto pieces = owned_pieces(
        run, kind.prefix,
        kept(kind.prefix, *kind.buffers, copies, writes_state(nn::ParameterGroup::kDense, run)));
    optimizer_.insert(optimizer_.end(), pieces.begin(), pieces.end());
  }
}

void CheckpointJob::write() const {
  if (!weights_file_.empty()) {
    make_directories(staging_ + (uses_lora(config_) ? "/adapter" : "/model"));
    write_safetensors(staging_ + "/" + weights_file_, weights_);
  }
  make_directories(staging_ + "/optimizer");
  if (optimizer_file_ >= 0) write_optimizer_file(staging_, optimizer_file_, optimizer_);
  record_own();
}

// A manifest of a rank's own files, for rank 0, which else would read what all have written.
void CheckpointJob::record_own() const {
  Manifest own = manifest_;
  if (!weights_file_.empty())
    own.files[weights_file_] = record_file(staging_ + "/" + weights_file_);
  if (optimizer_file_ >= 0) {
    const std::string file = optimizer_file(optimizer_file_);
    own.files[file] = record_file(staging_ + "/" + file);
  }
  const std::string records = staging_ + kRecords + "/" + std::to_string(rank_);
  make_directories(records);
  write_manifest(records, own);
}

std::map<std::string, FileRecord> CheckpointJob::all_records() const {
  std::map<std::string, FileRecord> known;
  const std::string records = staging_ + kRecords;
  std::error_code error;
  const std::filesystem::directory_iterator all(records, error);
  if (error) throw_file_error("read", records, error.value());
  for (const auto& entry : all) known.merge(read_manifest(entry.path().string()).files);
  std::filesystem::remove_all(records, error);
  if (error) throw_file_error("remove", records, error.value());
  return record_files(staging_, known);
}

void CheckpointJob::complete() const {
  if (uses_lora(config_)) {
    join_adapter_parts(staging_ + "/adapter", config_, base_, shards_);
  } else if (shards_ > 1) {
    write_model_index(staging_ + "/model", shards_);
  }
  for (const TextFile& file : texts_) write_file_atomically(staging_ + "/" + file.path, file.text);
  Manifest manifest = manifest_;
  manifest.files = all_records();
  write_manifest(staging_, manifest);
  publish(checkpoints_, manifest.step);
  prune(checkpoints_, config_.checkpoint.keep, config_.checkpoint.permanent_every);
}

std::string CheckpointJob::path() const {
  return checkpoints_ + "/" + step_directory_name(manifest_.step);
}

}  // namespace dsmoe::train
