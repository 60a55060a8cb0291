// Stages, expert ranks, replicas and ZeRO-1 together: eight ranks take the steps of one process.
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/checks.h"
#include "tests/support/saved_run.h"
#include "tests/support/temp_directory.h"
#include "tests/support/thread_world.h"
#include "tests/support/tiny_run.h"

namespace dsmoe::test {
namespace {

constexpr int64_t kSteps = 3, kSequences = 16;

struct StepNumbers {
  double loss = 0, loss_total = 0, grad_norm = 0;
};

/// What rank 0 reports of its first steps.
std::vector<StepNumbers> steps(int64_t ranks, const config::RunConfig& config) {
  std::vector<StepNumbers> numbers;
  run_ranks(ranks, [&](parallel::Communicator& world) {
    TinyRun run(config, {.sequences = kSequences, .padded = true}, world);
    for (int64_t step = 0; step < kSteps; ++step) {
      const train::StepReport report = run.step(step * kSequences);
      if (world.rank() == 0) numbers.push_back({report.loss, report.loss_total, report.grad_norm});
    }
  });
  return numbers;
}

config::RunConfig four_layers() {
  config::RunConfig config = tiny_run();
  config.model.num_hidden_layers = 4;
  config.batch.micro_sequences = 1;
  return config;
}

void check_same_steps(const config::RunConfig& config, const std::vector<StepNumbers>& alone) {
  const std::vector<StepNumbers> together = steps(8, config);
  REQUIRE(together.size() == alone.size());
  for (size_t i = 0; i < alone.size(); ++i) {
    CAPTURE(i);
    CHECK(together[i].loss == Approx(alone[i].loss).epsilon(1e-10));
    CHECK(together[i].loss_total == Approx(alone[i].loss_total).epsilon(1e-10));
    CHECK(together[i].grad_norm == Approx(alone[i].grad_norm).epsilon(1e-9));
  }
}

TEST_CASE("stages, expert ranks, replicas and ZeRO-1 together take the steps of one process") {
  const int64_t stages = GENERATE(2, 4);
  config::RunConfig base = four_layers();
  base.model.num_hidden_layers = 2 * stages;
  const std::vector<StepNumbers> alone = steps(1, base);
  for (const std::string schedule : {"gpipe", "1f1b", "zb_h1", "interleaved"}) {
    for (const bool again : {false, true}) {
      CAPTURE(stages, schedule, again);
      config::RunConfig config = base;
      config.parallel.pipeline = stages;
      config.parallel.expert = 2;
      config.parallel.zero = 1;
      config.parallel.schedule = schedule;
      config.parallel.chunks = schedule == "interleaved" ? 2 : 1;
      if (again) config.run.recompute = {"layer"};
      check_same_steps(config, alone);
    }
  }
}

TEST_CASE("the same over nodes, a row crossing to each once") {
  config::RunConfig config = four_layers();
  // Tokens that open two sequences alike have affinities that differ by rounding alone: which of
  // them is dropped depends on the layout.
  config.drop.kind = config::DropKind::kNone;
  const std::vector<StepNumbers> alone = steps(1, config);
  config.parallel.expert = 8;
  config.parallel.zero = 1;
  for (const int64_t node : {2, 4}) {
    for (const bool again : {false, true}) {
      CAPTURE(node, again);
      config.parallel.ranks_per_node = node;
      config.run.recompute = again ? std::vector<std::string>{"layer"} : std::vector<std::string>{};
      check_same_steps(config, alone);
    }
  }
}

/// Ranks as threads add up in rank order, whichever way they do it.
TEST_CASE("ZeRO-1 takes the same steps in every bit where sums have one order") {
  Checks checks;
  for (const int64_t stages : {1, 2}) {
    for (const int64_t expert : {1, 2}) {
      config::RunConfig config = four_layers();
      config.parallel.pipeline = stages;
      config.parallel.expert = expert;
      config.optimizer.clip_norm = 0;  // the norm has another order
      const TempDirectory whole, shared;
      for (const TempDirectory* folder : {&whole, &shared}) {
        config.parallel.zero = folder == &shared ? 1 : 0;
        run_ranks(8, [&](parallel::Communicator& world) {
          static_cast<void>(take_over(world, config, "", folder->path(), 0));
        });
      }
      compare_saved(checks, saved_step(shared.path(), 1), saved_step(whole.path(), 1),
                    std::to_string(stages) + " stages, expert " + std::to_string(expert) + ": ");
    }
  }
  CHECK(checks.failures() == Failures{});
}

struct Layout {
  int64_t ranks, stages, expert, zero;
  int64_t chunks = 1;
};

TEST_CASE("a checkpoint goes from eight ranks to fewer and back, bit for bit") {
  const TempDirectory folder;
  std::string from;
  Checks checks;
  int64_t step = 0;
  for (const Layout& layout : {Layout{8, 2, 2, 1}, Layout{1, 1, 1, 0}, Layout{8, 1, 8, 0},
                               Layout{4, 4, 1, 1}, Layout{8, 2, 4, 1, 2}, Layout{2, 1, 2, 1},
                               Layout{8, 1, 1, 1}, Layout{8, 4, 2, 0}, Layout{1, 1, 1, 0}}) {
    config::RunConfig config = four_layers();
    config.parallel.pipeline = layout.stages;
    config.parallel.expert = layout.expert;
    config.parallel.zero = layout.zero;
    config.parallel.chunks = layout.chunks;
    if (layout.chunks > 1) config.parallel.schedule = "interleaved";
    run_ranks(layout.ranks, [&](parallel::Communicator& world) {
      static_cast<void>(take_over(world, config, from, folder.path(), step));
    });
    const std::string what = "after step " + std::to_string(step) + ", ";
    if (!from.empty()) compare_saved(checks, saved_step(folder.path(), step), from, what);
    from = saved_step(folder.path(), step + 1);
    step += 2;
  }
  CHECK(checks.failures() == Failures{});
}

}  // namespace
}  // namespace dsmoe::test
