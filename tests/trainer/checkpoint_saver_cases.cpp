// Checkpoints that are written beside training: one at a time, and of the weights as they were.
#include "trainer/checkpoint_saver.h"

#include <filesystem>

#include "data/tokenizer.h"
#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"
#include "tests/support/saved_run.h"
#include "tests/support/shared_directory.h"
#include "tests/support/tiny_run.h"

namespace dsmoe::test {
namespace {

constexpr int64_t kSaves = 5;

bool is_complete(const std::string& folder, int64_t step) {
  return std::filesystem::exists(saved_step(folder, step) + "/manifest.json");
}

/// A save that finds another under way waits until that one is complete, whoever calls.
Failures one_at_a_time(parallel::Communicator& world) {
  Checks checks;
  const SharedDirectory folder(world);
  config::RunConfig config = tiny_run();
  config.parallel.expert = world.size();
  config.checkpoint.keep = 1000;
  config.checkpoint.background = true;
  TinyRun run(config, {}, world);
  std::vector<std::string> saved;
  train::CheckpointSaver saver(
      world, [&](const std::string& path, double, double) { saved.push_back(path); });
  std::vector<nn::FlatPair> weights;
  for (int64_t step = 1; step <= kSaves; ++step) {
    run.step(8 * step);
    train::RunState state;
    state.step = state.optimizer_steps = step;
    saver.save(folder.path(), checkpointed(run), state, *data::make_tokenizer("byte"));
    checks.equal(static_cast<int64_t>(saved.size()), step - 1, "complete when another begins");
    const nn::FlatPair& now = run.session().store.weights();
    weights.push_back({now.dense.clone(), now.expert.clone()});
    for (int64_t before = 1; before < step; ++before) {
      checks.that(is_complete(folder.path(), before), "its files are in place");
    }
  }
  saver.wait();
  checks.equal(static_cast<int64_t>(saved.size()), kSaves, "complete at the end");
  for (int64_t step = 1; step <= kSaves; ++step) {
    static_cast<void>(train::load_checkpoint(saved_step(folder.path(), step), checkpointed(run)));
    const nn::FlatPair& now = run.session().store.weights();
    const nn::FlatPair& then = weights[static_cast<size_t>(step - 1)];
    checks.that(now.dense.equal(then.dense) && now.expert.equal(then.expert),
                "the weights of step " + std::to_string(step));
  }
  world.barrier();
  return checks.failures();
}

const bool registered =
    register_rank_case("checkpoint: saves beside training follow one another", one_at_a_time);

}  // namespace
}  // namespace dsmoe::test
