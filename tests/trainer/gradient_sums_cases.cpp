// Gradients summed bucket by bucket are those summed after the backward pass.
#include "trainer/gradient_sums.h"

#include <string>

#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"
#include "tests/support/tiny_run.h"

namespace dsmoe::test {
namespace {

constexpr double kSmall = 1.0 / 1024;  // MiB: a bucket or more for each layer

std::string describe(const config::RunConfig& config) {
  return "expert " + std::to_string(config.parallel.expert) + ", pipeline " +
         std::to_string(config.parallel.pipeline) + " " + config.parallel.schedule + ", zero " +
         std::to_string(config.parallel.zero) + ": ";
}

/// Weights after two steps, with buckets and without.
void compare_steps(Checks& checks, config::RunConfig config, parallel::Communicator& world) {
  const TinyBatches batches{.sequences = 5, .padded = true};
  config.parallel.overlap = false;
  TinyRun after(config, batches, world);
  config.parallel.overlap = true;
  config.parallel.bucket_mib = kSmall;
  TinyRun during(config, batches, world);
  for (const int64_t first : {0, 5}) {
    const double norm = after.step(first).grad_norm;
    checks.that(std::abs(during.step(first).grad_norm / norm - 1) <= 1e-12,
                describe(config) + "grad_norm is off");
  }
  const nn::ParameterStore &a = during.session().store, &b = after.session().store;
  for (const nn::StoredTensor& t : b.tensors()) {
    checks.that(distance(a.weights().view(t), b.weights().view(t)) <= 1e-12,
                describe(config) + t.name + " is off");
  }
}

Failures same_steps(parallel::Communicator& world) {
  Checks checks;
  config::RunConfig config = tiny_run();
  config.batch.micro_sequences = 1;
  for (const int64_t zero : {0, 1}) {
    config.parallel.zero = zero;
    for (int64_t expert = 1; expert <= world.size(); expert *= 2) {
      config.parallel.expert = expert;
      config.parallel.pipeline = 1;
      config.parallel.schedule = "1f1b";
      compare_steps(checks, config, world);
      if (2 * expert > world.size()) continue;
      config.parallel.pipeline = 2;
      for (const char* schedule : {"gpipe", "1f1b", "zb_h1"}) {
        config.parallel.schedule = schedule;
        compare_steps(checks, config, world);
      }
    }
  }
  return checks.failures();
}

/// Layers that are run again, slices of layers in turn, and frozen ones below trained ones.
Failures same_steps_of_parts(parallel::Communicator& world) {
  Checks checks;
  config::RunConfig config = tiny_run();
  config.batch.micro_sequences = 1;
  config.run.recompute = {"layer"};
  compare_steps(checks, config, world);
  config.run.recompute = {};
  config.finetune.freeze = {"embeddings", "model.layers.[01].*"};
  compare_steps(checks, config, world);
  config.finetune.freeze = {"model.layers.1.mlp.experts.[2-5].*", "norms"};
  compare_steps(checks, config, world);
  if (world.size() < 2) return checks.failures();
  config.finetune.freeze = {};
  config.model.num_hidden_layers = 4;
  config.parallel.pipeline = 2;
  config.parallel.schedule = "interleaved";
  config.parallel.chunks = 2;
  compare_steps(checks, config, world);
  return checks.failures();
}

/// Sums begin while the pass is still on its way, from the last layer on.
Failures begins_before_the_end(parallel::Communicator& world) {
  Checks checks;
  config::RunConfig config = tiny_run();
  config.drop.kind = config::DropKind::kNone;
  config.parallel.bucket_mib = kSmall;
  train::Session session(config, world, 1);
  session.store.initialize(1, 0.02);
  session.world.reset();
  const auto sums_begun = [&] { return total(session.world.log(), "all_reduce").calls; };
  train::GradientSums sums(config, session.model, session.store, session.groups);
  const at::Tensor tokens_BT = at::arange(12, at::kLong).view({2, 6});
  const nn::SequenceInfo sequences{{0, 1}, {false, false}};
  const nn::ModelOutput output = session.model->forward(tokens_BT, sequences, /*dropping=*/false);
  sums.begin_last_pass(0);
  const int64_t before = sums_begun();
  output.hidden_NM.sum().backward();
  const int64_t during = sums_begun();
  sums.end_last_pass(0);
  sums.finish();
  checks.equal(before, int64_t{0}, "sums before the pass");
  int64_t in_the_pass = 0;  // all but the embeddings'
  for (const train::GradientBucket& bucket : train::gradient_buckets(
           session.store, session.model->slices(), config.model, int64_t{1} << 10)) {
    if (bucket.layer >= 0) in_the_pass += std::ssize(bucket.ranges);
  }
  checks.equal(during, world.size() > 1 ? in_the_pass : 0, "sums begun during the pass");
  if (world.size() == 1) checks.equal(sums_begun(), int64_t{0}, "sums of one rank");
  return checks.failures();
}

const bool registered =
    register_rank_case("gradient sums: in buckets as after the pass", same_steps) &&
    register_rank_case("gradient sums: of recomputed, frozen and interleaved layers",
                       same_steps_of_parts) &&
    register_rank_case("gradient sums: begin before the pass ends", begins_before_the_end);

}  // namespace
}  // namespace dsmoe::test
