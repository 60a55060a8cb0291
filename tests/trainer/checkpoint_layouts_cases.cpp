// A checkpoint goes from layout to layout: what one has saved, the next reads and saves again, bit
// for bit, and each rank reads what it holds.
#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"
#include "tests/support/saved_run.h"
#include "tests/support/shared_directory.h"
#include "tests/support/tiny_run.h"

namespace dsmoe::test {
namespace {

/// Every way to lay this world out, ZeRO-1 on and off in turn.
std::vector<config::ParallelConfig> layouts(int64_t world) {
  std::vector<config::ParallelConfig> all;
  for (int64_t stages = 1; stages <= world; stages *= 2) {
    for (int64_t expert = 1; expert * stages <= world; expert *= 2) {
      for (const int64_t zero : {0, 1}) {
        config::ParallelConfig layout;
        layout.pipeline = stages;
        layout.expert = expert;
        layout.zero = zero;
        all.push_back(layout);
      }
    }
  }
  config::ParallelConfig slices = all.back();
  slices.pipeline = 2;
  slices.expert = 1;
  slices.schedule = "interleaved";
  slices.chunks = 2;
  all.push_back(slices);
  return all;
}

Failures relay(parallel::Communicator& world, config::RunConfig config) {
  Checks checks;
  const SharedDirectory folder(world);
  config.model.num_hidden_layers = 4;
  config.batch.micro_sequences = 1;
  std::string from;
  int64_t step = 0;
  for (const config::ParallelConfig& layout : layouts(world.size())) {
    const std::string what = std::to_string(layout.pipeline) + " stages, expert " +
                             std::to_string(layout.expert) + ", zero " +
                             std::to_string(layout.zero) + ": ";
    const double bucket = config.parallel.bucket_mib;
    config.parallel = layout;
    config.parallel.bucket_mib = bucket;
    const Reading reading = take_over(world, config, from, folder.path(), step);
    if (!from.empty()) {
      checks.that(reading.read <= reading.held + described_bytes(from),
                  what + "reads " + std::to_string(reading.read) + " bytes, holds " +
                      std::to_string(reading.held));
      if (world.rank() == 0) compare_saved(checks, saved_step(folder.path(), step), from, what);
    }
    from = saved_step(folder.path(), step + 1);
    step += 2;
  }
  world.barrier();
  return checks.failures();
}

Failures full_precision(parallel::Communicator& world) { return relay(world, tiny_run()); }

/// With masters, and a router whose bias is saved as well.
Failures low_precision(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.run.precision = config::Precision::kBf16;
  config.model.scoring_func = config::ScoringFunc::kSigmoid;
  config.model.topk_method = config::TopkMethod::kNoauxTc;
  config.model.group_score = config::GroupScore::kTop2Sum;
  config.model.norm_topk_prob = true;
  config.balance.bias_rate = 0.1;
  return relay(world, config);
}

const bool registered =
    register_rank_case("checkpoint: from layout to layout", full_precision) &&
    register_rank_case("checkpoint: from layout to layout, bf16", low_precision);

}  // namespace
}  // namespace dsmoe::test
