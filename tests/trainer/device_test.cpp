// A step by LibTorch's operations, which devices compute with, against the host's own kernels. The
// cases named [cuda] need a device: scripts/test --cuda runs them.
#include <optional>
#include <string>

#include "modules/own_kernels.h"
#include "parallel/local_communicator.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_run.h"

namespace dsmoe::test {
namespace {

using config::Precision;

struct Outcome {
  train::StepReport report;
  std::map<std::string, at::Tensor> gradients, weights;
};

config::RunConfig run_of(Precision precision, const std::string& device = "cpu") {
  config::RunConfig run = tiny_run();
  run.run.precision = precision;
  run.run.device = device;
  return run;
}

Outcome one_step(const config::RunConfig& config, const TinyBatches& batches) {
  parallel::LocalCommunicator world;
  TinyRun run(config, batches, world);
  Outcome outcome{run.step(0), {}, {}};
  nn::ParameterStore& store = run.session().store;
  for (const nn::StoredTensor& t : store.tensors()) {
    outcome.gradients[t.name] = store.gradients().state_view(t).cpu().to(at::kDouble);
    outcome.weights[t.name] = store.weights().view(t).cpu().to(at::kDouble);
  }
  return outcome;
}

Outcome one_step_without_kernels(const config::RunConfig& config, const TinyBatches& batches) {
  const nn::WithoutOwnKernels without;
  return one_step(config, batches);
}

/// How far two outcomes may lie apart: each tensor's distance in norm, by the norm.
struct Tolerance {
  double loss, gradients, weights;
};

void check_near(const Outcome& got, const Outcome& wanted, const Tolerance& tolerance) {
  CHECK(got.report.loss_total == Approx(wanted.report.loss_total).epsilon(tolerance.loss));
  for (const auto& [name, gradient] : wanted.gradients) {
    INFO(name);
    CHECK(distance(got.gradients.at(name), gradient) < tolerance.gradients);
    CHECK(distance(got.weights.at(name), wanted.weights.at(name)) < tolerance.weights);
  }
}

/// bfloat16 keeps 8 bits, and a router that is off by one may choose another expert: what all
/// tensors together say is compared.
void check_near_in_all(const Outcome& got, const Outcome& wanted, double loss, double gradients) {
  CHECK(got.report.loss_total == Approx(wanted.report.loss_total).epsilon(loss));
  std::vector<at::Tensor> a, b;
  for (const auto& [name, gradient] : wanted.gradients) {
    a.push_back(got.gradients.at(name).flatten());
    b.push_back(gradient.flatten());
  }
  CHECK(distance(at::cat(a), at::cat(b)) < gradients);
}

constexpr Tolerance kFp64{1e-12, 1e-9, 1e-9};
constexpr Tolerance kFp32{1e-5, 1e-3, 1e-3};

TEST_CASE("what LibTorch's operations compute again gives the gradient of what they keep") {
  config::RunConfig run = run_of(Precision::kFp64);
  const Outcome kept = one_step_without_kernels(run, {.documents = true});
  for (const char* mode : {"layer", "norms", "mla_up", "swiglu", "experts", "moe"}) {
    INFO(mode);
    run.run.recompute = {mode};
    check_near(one_step_without_kernels(run, {.documents = true}), kept, kFp64);
  }
}

TEST_CASE("LibTorch's operations take the same step as the host's kernels, fp64") {
  const auto run = run_of(Precision::kFp64);
  for (const TinyBatches& batches :
       {TinyBatches{}, TinyBatches{.padded = true}, TinyBatches{.documents = true}}) {
    check_near(one_step_without_kernels(run, batches), one_step(run, batches), kFp64);
  }
}

TEST_CASE("LibTorch's operations take the same step under grouped-query attention, fp64") {
  auto run = run_of(Precision::kFp64);
  run.model.attention.kind = config::AttentionKind::kGqa;
  run.model.q_lora_rank.reset();
  run.model.num_attention_heads = 4;
  run.model.num_key_value_heads = 2;
  run.model.qk_nope_head_dim = 0;
  run.model.qk_rope_head_dim = run.model.v_head_dim = 6;
  check_near(one_step_without_kernels(run, {}), one_step(run, {}), kFp64);
}

TEST_CASE("LibTorch's operations take the same step with layers computed again, fp64") {
  auto run = run_of(Precision::kFp64);
  run.run.recompute = {"norms", "mla_up", "swiglu", "experts"};
  check_near(one_step_without_kernels(run, {}), one_step(run, {}), kFp64);
  for (const char* whole : {"layer", "moe"}) {
    run.run.recompute = {whole};
    check_near(one_step_without_kernels(run, {}), one_step(run, {}), kFp64);
  }
}

TEST_CASE("LibTorch's operations take the same step in fp32, and in bf16 nearly") {
  const auto fp32 = one_step(run_of(Precision::kFp32), {});
  check_near(one_step_without_kernels(run_of(Precision::kFp32), {}), fp32, kFp32);
  check_near_in_all(one_step_without_kernels(run_of(Precision::kBf16), {}), fp32, 0.02, 0.15);
}

TEST_CASE("a step on a device is the host's, fp32 and bf16", "[.][cuda]") {
  const auto fp32 = one_step(run_of(Precision::kFp32), {});
  for (const TinyBatches& batches : {TinyBatches{}, TinyBatches{.padded = true}}) {
    check_near(one_step(run_of(Precision::kFp32, "cuda"), batches),
               one_step(run_of(Precision::kFp32), batches), kFp32);
  }
  check_near_in_all(one_step(run_of(Precision::kBf16, "cuda"), {}), fp32, 0.02, 0.15);
}

}  // namespace
}  // namespace dsmoe::test
