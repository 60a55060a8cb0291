#include "trainer/checkpoint_saver.h"

#include <utility>

#include "trainer/agreement.h"

namespace dsmoe::train {

CheckpointSaver::~CheckpointSaver() {
  if (work_.valid()) work_.wait();
}

void CheckpointSaver::save(const std::string& checkpoints, const Checkpointed& run,
                           const RunState& state, const data::Tokenizer& tokenizer) {
  wait();
  const Stopwatch waiting;
  watch_ = Stopwatch();
  const bool background = run.config.checkpoint.background;
  job_ = std::make_shared<const CheckpointJob>(checkpoints, run, state, tokenizer,
                                               background ? &copies_ : nullptr);
  begin(Phase::kWriting, [job = job_] { job->write(); });
  waited_ = waiting.seconds();
  if (background) return;
  wait();
}

void CheckpointSaver::begin(Phase phase, std::function<void()> work) {
  phase_ = phase;
  failed_ = std::make_shared<std::atomic<bool>>(false);
  work_ = std::async(std::launch::async, [failed = failed_, work = std::move(work)] {
    try {
      work();
    } catch (...) {
      *failed = true;
      throw;
    }
  });
}

CheckpointSaver::Outcome CheckpointSaver::outcome() {
  const bool ended = work_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  const Outcome own = *failed_ ? Outcome::kFailed : ended ? Outcome::kEnded : Outcome::kUnderWay;
  at::Tensor latest = at::full({1}, static_cast<int64_t>(own), at::kLong);
  if (world_.size() > 1) world_.all_reduce(latest, parallel::ReduceOp::kMax);
  return static_cast<Outcome>(latest.item<int64_t>());
}

void CheckpointSaver::advance() {
  const Phase ended = std::exchange(phase_, Phase::kIdle);
  const bool under_way = work_.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
  agree(world_, [&] {
    if (*failed_ || !under_way) work_.get();  // else another rank has failed
  });
  if (ended == Phase::kWriting) {
    begin(Phase::kCompleting, [job = job_, first = world_.rank() == 0] {
      if (first) job->complete();
    });
    return;
  }
  const std::string path = job_->path();
  job_.reset();
  saved_(path, waited_, watch_.seconds());
}

void CheckpointSaver::poll() {
  const Stopwatch waiting;
  if (phase_ == Phase::kIdle) return;
  const Outcome now = outcome();
  waited_ += waiting.seconds();
  if (now != Outcome::kUnderWay) advance();
}

void CheckpointSaver::wait() {
  while (phase_ != Phase::kIdle) {
    const Stopwatch waiting;
    work_.wait();
    static_cast<void>(outcome());
    waited_ += waiting.seconds();
    advance();
  }
}

}  // namespace dsmoe::train
