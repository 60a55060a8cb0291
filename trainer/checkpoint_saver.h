#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>

#include "trainer/checkpoint_job.h"
#include "trainer/stopwatch.h"

namespace dsmoe::train {

/// Writes checkpoints, while training waits or beside it, one at a time. All calls are collective
/// over world and throw, as agree does, what writing threw on any rank, as soon as it has: others
/// may still write files of that checkpoint, which stays incomplete. After that it saves no more.
class CheckpointSaver {
 public:
  /// saved: told of each complete checkpoint, with the seconds that training waited for it and
  /// those until it was complete.
  using Saved = std::function<void(const std::string& path, double waited, double whole)>;
  CheckpointSaver(parallel::Communicator& world, Saved saved)
      : world_(world), saved_(std::move(saved)) {}
  /// Waits for what this rank still writes.
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  /// In the background (checkpoint.background): begins to, after what is under way is complete, and
  /// returns. Else returns when the checkpoint is complete.
  void save(const std::string& checkpoints, const Checkpointed& run, const RunState& state,
            const data::Tokenizer& tokenizer);
  /// Goes on with what is under way, without waiting; to be called after each step.
  void poll();
  /// Until nothing is under way.
  void wait();

 private:
  enum class Phase { kIdle, kWriting, kCompleting };
  /// Of all ranks together: the later counts.
  enum class Outcome : int64_t { kEnded, kUnderWay, kFailed };

  /// Runs on this rank, beside training.
  void begin(Phase phase, std::function<void()> work);
  /// Of the phase's work: ended on every rank, or failed on one, whatever the others do.
  [[nodiscard]] Outcome outcome();
  /// To the next phase: the files of all ranks are there, or the checkpoint is complete. Throws as
  /// agree does what has failed.
  void advance();

  parallel::Communicator& world_;
  Saved saved_;
  CopyPool copies_;
  Phase phase_ = Phase::kIdle;
  std::shared_ptr<const CheckpointJob> job_;
  std::future<void> work_;
  std::shared_ptr<std::atomic<bool>> failed_;  ///< of work_
  Stopwatch watch_;
  double waited_ = 0;
};

}  // namespace dsmoe::train
