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
  work_ = std::async(std::launch::async, std::move(work));
}

bool CheckpointSaver::all_ready() {
  const bool ready = work_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  at::Tensor busy = at::full({1}, ready ? 0 : 1, at::kLong);
  if (world_.size() > 1) world_.all_reduce(busy, parallel::ReduceOp::kMax);
  return busy.item<int64_t>() == 0;
}

void CheckpointSaver::advance() {
  const Phase ended = std::exchange(phase_, Phase::kIdle);
  agree(world_, [&] { work_.get(); });
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
  if (phase_ != Phase::kIdle && all_ready()) {
    waited_ += waiting.seconds();
    advance();
  }
}

void CheckpointSaver::wait() {
  while (phase_ != Phase::kIdle) {
    const Stopwatch waiting;
    work_.wait();
    static_cast<void>(all_ready());
    waited_ += waiting.seconds();
    advance();
  }
}

}  // namespace dsmoe::train
