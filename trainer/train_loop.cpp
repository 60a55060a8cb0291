// The loop around train_step: what happens after each step, and at the end.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/evaluate.h"
#include "trainer/routing_file.h"
#include "trainer/step_line.h"
#include "trainer/stop_signal.h"
#include "trainer/train_run.h"

namespace dsmoe::train {

int TrainRun::run() {
  // What ends a run on all ranks alike does not take the checkpoint under way with it.
  try {
    return run_steps();
  } catch (const UserError&) {
    saver_.wait();
    throw;
  } catch (const PeerFailed&) {
    saver_.wait();
    throw;
  }
}

int TrainRun::run_steps() {
  LogitsRecorder recorder(directory_.logits(), session_.config.run.record_logits);
  TrainContext context{session_.config, session_.topology, session_.world, session_.groups,
                       session_.model,  session_.store,    optimizer_,     &recorder};
  while (!last_step()) {
    StepReport report = train_step(context, *loader_, state_);
    saver_.poll();
    finish_step(report);
    if (!last_step() && stop_agreed()) return stop();
  }
  if (saved_step_ != state_.step) save();
  saver_.wait();
  agree(context_.world, [&] {
    if (context_.first()) write_file_atomically(directory_.done(), "");
  });
  context_.console.info("done: " + directory_.checkpoints() + "/latest, " + directory_.metrics());
  return 0;
}

bool TrainRun::stop_agreed() {
  at::Tensor asked = at::full({1}, stop_requested() ? 1 : 0, at::kLong);
  if (session_.world.size() > 1) session_.world.all_reduce(asked, parallel::ReduceOp::kMax);
  return asked.item<int64_t>() != 0;
}

int TrainRun::stop() {
  if (saved_step_ != state_.step) save();
  saver_.wait();
  context_.console.info("stopped as asked after step " + std::to_string(state_.step) +
                        "; the same command goes on from there");
  return 0;
}

bool TrainRun::due(int64_t every) const {
  return last_step() || (every > 0 && state_.step % every == 0);
}

void TrainRun::finish_step(StepReport& report) {
  constexpr double kWeight = 0.1;  // of the newest step in the mean that the ETA uses
  seconds_per_step_ = seconds_per_step_ == 0
                          ? report.seconds
                          : (1 - kWeight) * seconds_per_step_ + kWeight * report.seconds;
  if (due(session_.config.eval.every)) evaluate_all(report);
  log_step(report);
  last_ = report;
  check_skips();
  if (due(session_.config.checkpoint.every)) save();
}

std::string TrainRun::outcome() const {
  using nlohmann::ordered_json;
  const ordered_json outcome = {
      {"directory", directory_.root},
      {"checkpoint", directory_.checkpoints() + "/" + step_directory_name(state_.step)},
      {"step", state_.step},
      {"tokens", state_.tokens},
      {"done", last_step()},
      {"last", last_ ? ordered_json::parse(to_json(*last_)) : ordered_json()}};
  return outcome.dump(2) + "\n";
}

void TrainRun::evaluate_all(StepReport& report) {
  const config::RunConfig& config = session_.config;
  for (const auto& [name, set] : eval_sets_) {
    EvalPlan plan{config.eval.batches * config.batch.sequences, config.batch.micro_sequences,
                  config.eval.drop == config::EvalDrop::kYes};
    report.eval[name] = evaluate(session_.model, set, plan, session_.groups);
    if (config.eval.drop != config::EvalDrop::kBoth) continue;
    plan.drop = true;
    report.eval[name].with_drop.push_back(evaluate(session_.model, set, plan, session_.groups));
  }
}

std::vector<std::string> TrainRun::source_names() const {
  std::vector<std::string> names;
  for (const config::DataSource& source : session_.config.data.train) names.push_back(source.name);
  return names;
}

void TrainRun::log_step(const StepReport& report) {
  agree(context_.world, [&] {
    if (context_.first()) write_logs(report);
  });
}

void TrainRun::write_logs(const StepReport& report) {
  context_.console.info(step_line(report, total_steps_, eta_seconds()));
  for (const auto& [name, eval] : report.eval) context_.console.info(eval_line(name, eval));
  const int64_t routing_every = session_.config.log.routing_every;
  if (routing_every > 0 && due(routing_every)) {
    write_routing_file(directory_.routing(), report, source_names());
  }
  StepReport line = report;
  if (!due(session_.config.log.every)) line.layers.clear();
  metrics_->append(line);
  if (tensorboard_) tensorboard_->add_scalars(line.step, scalars_of(line));
}

double TrainRun::eta_seconds() const {
  return seconds_per_step_ * static_cast<double>(total_steps_ - state_.step);
}

void TrainRun::check_skips() {
  const int64_t limit = session_.config.optimizer.max_skipped;
  if (limit == 0 || state_.skipped_in_row < limit) return;
  agree(context_.world, [&] {
    throw UserError("step " + std::to_string(state_.step) + ": " + std::to_string(limit) +
                    " steps in a row were not finite and were skipped (optimizer.max_skipped)" +
                    "\nhint: the newest checkpoint is finite; lower optimizer.lr");
  });
}

void TrainRun::save() {
  saver_.save(directory_.checkpoints(), checkpointed(), state_, *tokenizer_);
  saved_step_ = state_.step;
}

}  // namespace dsmoe::train
