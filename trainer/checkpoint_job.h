#pragma once

#include <map>
#include <string>
#include <vector>

#include "trainer/checkpoint.h"
#include "trainer/manifest.h"
#include "trainer/optimizer_files.h"
#include "trainer/safetensors_writer.h"

namespace dsmoe::train {

/// A text file of a checkpoint.
struct TextFile {
  std::string path;  ///< relative to the step directory
  std::string text;
};

/// Memory for copies of a rank's buffers, taken once and used by one checkpoint after the other.
class CopyPool {
 public:
  /// A copy of `tensor`, under a name of its own.
  at::Tensor copy(const std::string& name, const at::Tensor& tensor);

 private:
  std::map<std::string, at::Tensor> copies_;
};

/// One checkpoint on its way to the disk: what this rank writes of it, and what rank 0 adds once
/// all have written.
class CheckpointJob {
 public:
  /// Makes the staging directory. copies: where what is written is copied to, so that training may
  /// go on meanwhile, and where it stays until the job is done; null: the run's own tensors are
  /// written. Collective over world; throws as agree does.
  CheckpointJob(std::string checkpoints, const Checkpointed& run, const RunState& state,
                const data::Tokenizer& tokenizer, CopyPool* copies);

  /// Writes and syncs this rank's files, and records them. Local, touches nothing of the run: may
  /// have a thread of its own. Throws as throw_file_error.
  void write() const;

  /// Rank 0, once every rank has written: files that speak of all others, manifest.json last; the
  /// staging directory gets its name, `latest` follows, old steps go. Local, as write().
  void complete() const;

  /// The step directory's name once it is complete.
  [[nodiscard]] std::string path() const;

 private:
  void take_model(const Checkpointed& run, CopyPool* copies);
  void take_adapter(const Checkpointed& run, CopyPool* copies);
  void take_optimizer(const Checkpointed& run, CopyPool* copies);
  void record_own() const;
  [[nodiscard]] std::map<std::string, FileRecord> all_records() const;

  std::string checkpoints_;
  std::string staging_;
  config::RunConfig config_;
  AdapterBase base_;
  int64_t rank_;
  int64_t shards_;
  std::string weights_file_;  ///< of this rank; empty: another rank writes the same
  std::vector<NamedTensor> weights_;
  int64_t optimizer_file_ = -1;
  std::vector<StatePiece> optimizer_;
  std::vector<TextFile> texts_;  ///< rank 0's
  Manifest manifest_;
};

}  // namespace dsmoe::train
