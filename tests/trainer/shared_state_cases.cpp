// ZeRO-1: ranks that share the optimizer's state take the same steps as ranks that each have it
// all.
#include "trainer/shared_state.h"

#include <string>

#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"
#include "tests/support/tiny_run.h"

namespace dsmoe::test {
namespace {

using nn::ParameterGroup;

std::string describe(const config::RunConfig& config) {
  return "expert " + std::to_string(config.parallel.expert) + ", pipeline " +
         std::to_string(config.parallel.pipeline) + ": ";
}

/// Sums of two numbers do not depend on their order, so that up to two ranks agree in every bit.
void compare_weights(Checks& checks, const nn::ParameterStore& shared,
                     const nn::ParameterStore& alone, bool bitwise, double tolerance,
                     const std::string& what) {
  for (const nn::StoredTensor& t : alone.tensors()) {
    const at::Tensor a = shared.weights().view(t), b = alone.weights().view(t);
    if (bitwise) {
      checks.that(a.equal(b), what + t.name + " is not the same in every bit");
    } else {
      const double gap = distance(a.to(at::kDouble), b.to(at::kDouble));
      checks.that(gap <= tolerance,
                  what + t.name + " is off by " + std::to_string(gap * 1e12) + "e-12");
    }
  }
}

/// Three steps with and without sharing.
void compare_three_steps(Checks& checks, parallel::Communicator& world, config::RunConfig config,
                         double tolerance) {
  const TinyBatches batches{.sequences = 5, .padded = true};
  config.batch.micro_sequences = 1;
  config.parallel.zero = 0;
  TinyRun alone(config, batches, world);
  config.parallel.zero = 1;
  TinyRun shared(config, batches, world);
  for (int64_t step = 0; step < 3; ++step) {
    const double norm = alone.step(5 * step).grad_norm;
    const double gap = std::abs(shared.step(5 * step).grad_norm - norm) / norm;
    checks.that(gap <= tolerance, describe(config) + "grad_norm is off");
  }
  const bool bitwise = world.size() <= 2 && config.optimizer.clip_norm == 0;
  compare_weights(checks, shared.session().store, alone.session().store, bitwise, tolerance,
                  describe(config));
}

/// On every expert size, in one stage or two.
Failures compare_steps(parallel::Communicator& world, config::RunConfig config, double tolerance) {
  Checks checks;
  for (const int64_t stages : {1, 2}) {
    for (int64_t expert = 1; expert * stages <= world.size(); expert *= 2) {
      config.parallel.expert = expert;
      config.parallel.pipeline = stages;
      compare_three_steps(checks, world, config, tolerance);
    }
  }
  return checks.failures();
}

Failures same_steps(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  Failures failures = compare_steps(world, config, 1e-12);
  config.optimizer.clip_norm = 0;
  append(failures, compare_steps(world, config, 1e-12));
  return failures;
}

Failures same_steps_in_low_precision(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.optimizer.clip_norm = 0;
  config.run.precision = config::Precision::kFp32;
  Failures failures = compare_steps(world, config, 1e-4);
  config.run.precision = config::Precision::kBf16;
  append(failures, compare_steps(world, config, 2e-2));
  return failures;
}

/// The trained weights lie apart: what is gathered goes by way of a buffer.
Failures same_steps_of_some_weights(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.optimizer.clip_norm = 0;
  config.finetune.freeze = {"embeddings", "model.layers.1.mlp.experts.[2-5].*", "norms"};
  return compare_steps(world, config, 1e-12);
}

int64_t owned_numbers(nn::FlatPair& pair) { return pair.dense.numel() + pair.expert.numel(); }

/// Moments and masters of a rank are what is trained, divided by the ranks that have it.
Failures state_is_divided(parallel::Communicator& world) {
  Checks checks;
  config::RunConfig config = tiny_run();
  config.run.precision = config::Precision::kBf16;
  config.parallel.zero = 1;
  for (int64_t expert = 1; expert <= world.size(); expert *= 2) {
    config.parallel.expert = expert;
    TinyRun run(config, {}, world);
    nn::ParameterStore& store = run.session().store;
    int64_t counts[2] = {0, 0};
    for (const nn::StoredTensor& t : store.tensors()) {
      counts[t.group == ParameterGroup::kExpert ? 1 : 0] += t.numel;
    }
    const int64_t replicas = world.size() / expert;
    const int64_t most =
        (counts[0] + world.size() - 1) / world.size() + (counts[1] + replicas - 1) / replicas;
    for (nn::FlatPair* pair :
         {&run.optimizer().first_moments(), &run.optimizer().second_moments(), &store.masters()}) {
      checks.that(owned_numbers(*pair) <= most, describe(config) + "more than a share");
      at::Tensor all = at::full({1}, owned_numbers(*pair), at::kLong);
      world.all_reduce(all, parallel::ReduceOp::kSum);
      checks.equal(all.item<int64_t>(), counts[0] + counts[1] * expert,
                   describe(config) + "numbers on all ranks together");
    }
  }
  return checks.failures();
}

Failures masters_come_together(parallel::Communicator& world) {
  Checks checks;
  config::RunConfig config = tiny_run();
  config.run.precision = config::Precision::kBf16;
  TinyRun alone(config, {}, world);
  config.parallel.zero = 1;
  TinyRun shared(config, {}, world);
  nn::FlatPair whole = train::whole_masters(shared.session().store, shared.session().groups);
  const nn::FlatPair& wanted = alone.session().store.masters();
  for (const ParameterGroup group : {ParameterGroup::kDense, ParameterGroup::kExpert}) {
    const int64_t count = wanted.of(group).numel();
    checks.that(whole.of(group).narrow(0, 0, count).equal(wanted.of(group)), "gathered masters");
  }
  return checks.failures();
}

const bool registered =
    register_rank_case("zero: shared state takes the same steps", same_steps) &&
    register_rank_case("zero: the same in fp32 and bf16", same_steps_in_low_precision) &&
    register_rank_case("zero: the same where some weights are frozen",
                       same_steps_of_some_weights) &&
    register_rank_case("zero: each rank has its share of the state", state_is_divided) &&
    register_rank_case("zero: masters can be gathered", masters_come_together);

}  // namespace
}  // namespace dsmoe::test
