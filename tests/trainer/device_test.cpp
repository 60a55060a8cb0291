// A step by LibTorch's operations, which devices compute with, against the host's own kernels. The
// cases named [cuda] need a device: scripts/test --cuda runs them.
#include <functional>
#include <string>
#include <vector>

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
    if (!t.trains()) continue;
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

/// A run that computes something that the others do not.
struct Variant {
  std::string name;
  std::function<void(config::RunConfig&)> change;
  TinyBatches batches{};
};

void grouped_queries(config::RunConfig& run) {
  run.model.attention.kind = config::AttentionKind::kGqa;
  run.model.q_lora_rank.reset();
  run.model.num_attention_heads = 4;
  run.model.num_key_value_heads = 2;
  run.model.qk_nope_head_dim = 0;
  run.model.qk_rope_head_dim = run.model.v_head_dim = 6;
}

void v3_router(config::RunConfig& run) {
  run.model.scoring_func = config::ScoringFunc::kSigmoid;
  run.model.topk_method = config::TopkMethod::kNoauxTc;
  run.model.group_score = config::GroupScore::kTop2Sum;
  run.model.norm_topk_prob = true;
  run.balance.bias_rate = 0.1;
  run.balance.z = 0.01;
}

void adapters(config::RunConfig& run) {
  run.finetune.method = config::FinetuneMethod::kLora;
  run.finetune.lora.rank = 2;
}

void frozen(config::RunConfig& run) {
  run.finetune.freeze = {"embeddings", "model.layers.0.*", "routed_experts"};
}

auto computed_again(std::vector<std::string> modes) {
  return [modes = std::move(modes)](config::RunConfig& run) { run.run.recompute = modes; };
}

std::vector<Variant> variants() {
  const auto plain = [](config::RunConfig&) {};
  return {{"plain", plain},
          {"padded", plain, {.padded = true}},
          {"documents", plain, {.documents = true}},
          {"starved", plain, {.starved = true}},
          {"grouped-query attention", grouped_queries},
          {"V3's router", v3_router, {.biased = true}},
          {"adapters", adapters},
          {"frozen", frozen},
          {"parts again", computed_again({"norms", "mla_up", "swiglu", "experts"})},
          {"MoE layers again", computed_again({"norms", "mla_up", "swiglu", "moe"})},
          {"layers again", computed_again({"layer"})}};
}

config::RunConfig run_of(const Variant& variant, Precision precision,
                         const std::string& device = "cpu") {
  config::RunConfig run = run_of(precision, device);
  variant.change(run);
  return run;
}

TEST_CASE("LibTorch's operations take the same step as the host's kernels, fp64") {
  for (const Variant& variant : variants()) {
    INFO(variant.name);
    const auto run = run_of(variant, Precision::kFp64);
    check_near(one_step_without_kernels(run, variant.batches), one_step(run, variant.batches),
               kFp64);
  }
}

TEST_CASE("LibTorch's operations take the same step in fp32, and in bf16 nearly") {
  const auto fp32 = one_step(run_of(Precision::kFp32), {});
  check_near(one_step_without_kernels(run_of(Precision::kFp32), {}), fp32, kFp32);
  check_near_in_all(one_step_without_kernels(run_of(Precision::kBf16), {}), fp32, 0.02, 0.15);
}

TEST_CASE("a step on a device is the host's, fp32 and bf16", "[.][cuda]") {
  for (const Variant& variant : variants()) {
    INFO(variant.name);
    const Outcome host = one_step(run_of(variant, Precision::kFp32), variant.batches);
    check_near(one_step(run_of(variant, Precision::kFp32, "cuda"), variant.batches), host, kFp32);
    check_near_in_all(one_step(run_of(variant, Precision::kBf16, "cuda"), variant.batches), host,
                      0.02, 0.15);
  }
}

}  // namespace
}  // namespace dsmoe::test
