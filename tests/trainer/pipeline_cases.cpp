// Layout invariance over pipelines: every schedule gives one process's numbers, with whatever else
// the layout is made of.
#include <string>

#include "tests/support/compare_runs.h"
#include "tests/support/rank_suite.h"

namespace dsmoe::test {
namespace {

constexpr double kExact = 1e-12;
constexpr double kBf16 = 0.1;  // of the gradient of an expert that few tokens choose

/// The tiny run with a layer for each of four stages: dense, and three of experts.
config::RunConfig deep_run() {
  config::RunConfig config = tiny_run();
  config.model.num_hidden_layers = 4;
  return config;
}

struct Pipeline {
  int64_t stages;
  std::string schedule;
  int64_t chunks = 1;
  int64_t micro = 1;
  double put_off = 1;
};

std::string describe(const config::RunConfig& config) {
  const config::ParallelConfig& p = config.parallel;
  return p.schedule + ", " + std::to_string(p.pipeline) + " stages of " + std::to_string(p.chunks) +
         " slices, put off " + std::to_string(p.put_off) + ", expert " + std::to_string(p.expert) +
         ", zero " + std::to_string(p.zero) + ", micro " +
         std::to_string(config.batch.micro_sequences) + ": ";
}

/// What the schedules make of some layers; P 2 and 4 where the world is large enough.
std::vector<Pipeline> pipelines(int64_t world) {
  std::vector<Pipeline> all;
  for (int64_t stages = 2; stages <= world; stages *= 2) {
    for (const char* schedule : {"gpipe", "1f1b", "zb_h1"}) {
      all.push_back({stages, schedule, 1, 1});
      all.push_back({stages, schedule, 1, 4});
    }
    all.push_back({stages, "zb_h1", 1, 1, 0.5});
  }
  if (world >= 2) all.push_back({2, "interleaved", 2, 1});
  return all;
}

Failures compare_pipelines(parallel::Communicator& world, const config::RunConfig& base,
                           const TinyBatches& batches, double tolerance) {
  Checks checks;
  const TinyGradients oracle = gradients_alone(base, batches);
  for (const Pipeline& pipeline : pipelines(world.size())) {
    for (int64_t expert = 1; expert * pipeline.stages <= world.size(); expert *= 2) {
      config::RunConfig config = base;
      config.parallel.pipeline = pipeline.stages;
      config.parallel.schedule = pipeline.schedule;
      config.parallel.chunks = pipeline.chunks;
      config.parallel.put_off = pipeline.put_off;
      config.parallel.expert = expert;
      config.batch.micro_sequences = pipeline.micro;
      if (expert * pipeline.micro % base.batch.pool != 0) continue;
      compare_gradients(checks, tiny_gradients(config, batches, world), oracle, tolerance,
                        describe(config));
    }
  }
  return checks.failures();
}

Failures any_schedule(parallel::Communicator& world) {
  return compare_pipelines(world, deep_run(), {}, kExact);
}

Failures ragged_and_padded(parallel::Communicator& world) {
  Failures failures = compare_pipelines(world, deep_run(), {.sequences = 5}, kExact);
  append(failures, compare_pipelines(world, deep_run(),
                                     {.sequences = 3, .padded = true, .documents = true}, kExact));
  return failures;
}

Failures pools_and_drops(parallel::Communicator& world) {
  config::RunConfig config = deep_run();
  config.batch.pool = 2;
  config.drop.capacity = 0.6;
  config.drop.protected_fraction = 0.3;
  config.balance.z = 0.01;
  config.balance.complementary = 0.02;
  config.balance.scope = config::BalanceScope::kPool;
  return compare_pipelines(world, config, {.padded = true}, kExact);
}

/// The counts of the whole batch come from forward passes that go through the stages before.
Failures whole_batch_balance(parallel::Communicator& world) {
  config::RunConfig config = deep_run();
  config.balance.scope = config::BalanceScope::kGlobalBatch;
  return compare_pipelines(world, config, {.sequences = 5}, kExact);
}

Failures biased_router(parallel::Communicator& world) {
  config::RunConfig config = deep_run();
  config.model.scoring_func = config::ScoringFunc::kSigmoid;
  config.model.topk_method = config::TopkMethod::kNoauxTc;
  config.model.group_score = config::GroupScore::kTop2Sum;
  return compare_pipelines(world, config, {.biased = true}, kExact);
}

/// The first two layers are dense: with four stages, two of these have no experts.
Failures stages_without_experts(parallel::Communicator& world) {
  config::RunConfig config = deep_run();
  config.model.first_k_dense_replace = 2;
  Failures failures = compare_pipelines(world, config, {}, kExact);
  config.balance.expert = config.balance.device = config.balance.communication = 0;
  append(failures, compare_pipelines(world, config, {}, kExact));
  return failures;
}

/// Stages where nothing is trained still hand gradients on, or have none to hand on.
Failures frozen_stages(parallel::Communicator& world) {
  config::RunConfig config = deep_run();
  config.finetune.freeze = {"embeddings", "model.layers.0.*", "model.layers.2.*", "head"};
  Failures failures = compare_pipelines(world, config, {}, kExact);
  config = deep_run();
  config.finetune.method = config::FinetuneMethod::kLora;
  config.finetune.lora.rank = 2;
  append(failures, compare_pipelines(world, config, {.padded = true}, kExact));
  return failures;
}

/// Where stages are all there is, they do what one process does, in its order: no bit differs.
Failures same_bits(parallel::Communicator& world) {
  Checks checks;
  if (world.size() < 2) return {};
  for (const auto precision : {config::Precision::kFp32, config::Precision::kBf16}) {
    config::RunConfig config = deep_run();
    config.run.precision = precision;
    config.model.num_hidden_layers = 2 * world.size();
    config.batch.micro_sequences = 2;
    const TinyGradients oracle = gradients_alone(config, {.padded = true});
    for (const char* schedule : {"gpipe", "1f1b", "zb_h1", "interleaved"}) {
      const bool interleaved = schedule == std::string("interleaved");
      config.parallel.pipeline = world.size();
      config.parallel.schedule = schedule;
      config.parallel.chunks = interleaved ? 2 : 1;
      const TinyGradients staged = tiny_gradients(config, {.padded = true}, world);
      checks.that(staged.report.loss == oracle.report.loss, describe(config) + "loss");
      for (const auto& [name, gradient] : staged.gradients) {
        checks.that(gradient.equal(oracle.gradients.at(name)), describe(config) + name);
      }
    }
  }
  return checks.failures();
}

/// Two slices of one layer a stage, and three of one.
Failures interleaved_slices(parallel::Communicator& world) {
  Checks checks;
  if (world.size() < 2) return {};
  for (const int64_t chunks : {2, 3}) {
    config::RunConfig config = deep_run();
    config.model.num_hidden_layers = world.size() * chunks;
    config.batch.micro_sequences = 1;
    const TinyGradients oracle = gradients_alone(config, {.padded = true});
    config.parallel.pipeline = world.size();
    config.parallel.schedule = "interleaved";
    config.parallel.chunks = chunks;
    compare_gradients(checks, tiny_gradients(config, {.padded = true}, world), oracle, kExact,
                      describe(config));
  }
  return checks.failures();
}

/// With experts on several ranks sums have another order, which bf16 shows. Experts are dealt out,
/// so that rounding does not choose others.
Failures low_precision_with_experts(parallel::Communicator& world) {
  config::RunConfig config = deep_run();
  config.run.precision = config::Precision::kBf16;
  config.router.force_balance = true;
  config.drop.kind = config::DropKind::kNone;
  return compare_pipelines(world, config, {}, kBf16);
}

/// Listed stages of unequal depth.
Failures listed_stages(parallel::Communicator& world) {
  Checks checks;
  if (world.size() < 2) return {};
  config::RunConfig config = deep_run();
  const TinyGradients oracle = gradients_alone(config, {});
  config.parallel.pipeline = 2;
  config.parallel.stage_layers = {1, 3};
  config.batch.micro_sequences = 2;
  compare_gradients(checks, tiny_gradients(config, {}, world), oracle, kExact, "1 and 3 layers: ");
  return checks.failures();
}

const bool registered =
    register_rank_case("pipeline: every schedule gives one rank's gradient", any_schedule) &&
    register_rank_case("pipeline: ragged batches, padding and documents", ragged_and_padded) &&
    register_rank_case("pipeline: pools, drops and every balance loss", pools_and_drops) &&
    register_rank_case("pipeline: balance over the whole batch", whole_batch_balance) &&
    register_rank_case("pipeline: V3's router", biased_router) &&
    register_rank_case("pipeline: stages without experts", stages_without_experts) &&
    register_rank_case("pipeline: frozen layers and adapters", frozen_stages) &&
    register_rank_case("pipeline: stages as listed", listed_stages) &&
    register_rank_case("pipeline: every stage has several slices", interleaved_slices) &&
    register_rank_case("pipeline: experts in bf16", low_precision_with_experts) &&
    register_rank_case("pipeline: fp32 and bf16 give one process's bits", same_bits);

}  // namespace
}  // namespace dsmoe::test
