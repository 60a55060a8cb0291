// What is computed again in the backward pass gives the gradient of what was kept, bit for bit.
#include <string>

#include "tests/support/compare_runs.h"
#include "tests/support/rank_suite.h"

namespace dsmoe::test {
namespace {

const std::vector<std::vector<std::string>> kModes{
    {"layer"},   {"norms"},
    {"mla_up"},  {"swiglu"},
    {"experts"}, {"norms", "mla_up", "swiglu", "experts"},
    {"moe"},     {"norms", "mla_up", "swiglu", "moe"}};

std::string describe(const config::RunConfig& config) {
  std::string text;
  for (const std::string& name : config.run.recompute) text += name + " ";
  return text + "with expert " + std::to_string(config.parallel.expert) + ", pipeline " +
         std::to_string(config.parallel.pipeline) + ": ";
}

void compare_bits(Checks& checks, const TinyGradients& again, const TinyGradients& kept,
                  const std::string& what) {
  checks.that(again.report.loss_total == kept.report.loss_total, what + "loss_total");
  checks.that(again.report.grad_norm == kept.report.grad_norm, what + "grad_norm");
  for (size_t i = 0; i < kept.report.layers.size(); ++i) {
    checks.that(again.report.layers[i].pairs == kept.report.layers[i].pairs, what + "pairs");
  }
  checks.equal(again.report.traffic.bytes,
               again.report.traffic.bytes_bound + again.report.traffic.metadata_bytes,
               what + "bytes are the bound and the metadata");
  for (size_t i = 0; i < kept.report.layers.size(); ++i) {
    const auto &a = again.report.layers[i].interference, &b = kept.report.layers[i].interference;
    checks.that(a.has_value() == b.has_value(), what + "interference is there");
    if (a && b) checks.that(a->ratio == b->ratio && a->cosine == b->cosine, what + "interference");
  }
  for (const auto& [name, gradient] : kept.gradients) {
    checks.that(again.gradients.at(name).equal(gradient), what + "gradient of " + name);
  }
}

Failures compare_modes(parallel::Communicator& world, config::RunConfig config,
                       const TinyBatches& batches) {
  Checks checks;
  config.batch.micro_sequences = 2;
  for (const int64_t stages : {1, 2}) {
    for (int64_t expert = 1; expert * stages <= world.size(); expert *= 2) {
      config.parallel.expert = expert;
      config.parallel.pipeline = stages;
      config.parallel.schedule = "zb_h1";
      config.run.recompute = {};
      const TinyGradients kept = tiny_gradients(config, batches, world);
      for (const auto& mode : kModes) {
        config.run.recompute = mode;
        compare_bits(checks, tiny_gradients(config, batches, world), kept, describe(config));
      }
    }
  }
  return checks.failures();
}

Failures same_bits(parallel::Communicator& world) {
  Failures failures;
  for (const auto precision :
       {config::Precision::kFp64, config::Precision::kFp32, config::Precision::kBf16}) {
    config::RunConfig config = tiny_run();
    config.run.precision = precision;
    append(failures, compare_modes(world, config, {.sequences = 5, .padded = true}));
  }
  return failures;
}

/// Noise, drops, biases and documents are as they were in the first run.
Failures same_routing(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.router.jitter = 0.3;
  config.batch.pool = 2;
  config.drop.capacity = 0.6;
  config.balance.z = 0.01;
  config.model.scoring_func = config::ScoringFunc::kSigmoid;
  config.model.topk_method = config::TopkMethod::kNoauxTc;
  return compare_modes(world, config, {.biased = true, .documents = true});
}

Failures same_with_frozen_weights(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.finetune.freeze = {"embeddings", "model.layers.0.*", "attention", "routed_experts"};
  Failures failures = compare_modes(world, config, {.padded = true});
  config = tiny_run();
  config.finetune.method = config::FinetuneMethod::kLora;
  config.finetune.lora.rank = 2;
  config.finetune.lora.dropout = 0.3;
  config.finetune.lora.target = {"attention", "head"};
  append(failures, compare_modes(world, config, {.padded = true}));
  config.finetune.lora.dropout = 0;
  config.finetune.lora.target = config::LoraConfig{}.target;
  append(failures, compare_modes(world, config, {}));
  return failures;
}

/// The second run sends rows, but neither counts nor addresses nor drop decisions.
Failures no_second_metadata(parallel::Communicator& world) {
  Checks checks;
  if (world.size() < 2) return {};
  config::RunConfig config = tiny_run();
  config.parallel.expert = world.size();
  config.batch.micro_sequences = 2;
  config.batch.pool = 4;
  config.model.scoring_func = config::ScoringFunc::kSoftmax;
  const auto kept = tiny_gradients(config, {}, world).report.traffic;
  for (const char* mode : {"layer", "moe"}) {
    config.run.recompute = {mode};
    const auto again = tiny_gradients(config, {}, world).report.traffic;
    checks.equal(again.forward_bytes, kept.forward_bytes, "bytes of the forward pass");
    // Out and back, and both ways of gradients: one way of the rows and of the gate weights more.
    checks.equal(4 * again.bytes_bound, 5 * kept.bytes_bound, "rows once more");
    const int64_t weights = again.metadata_bytes - kept.metadata_bytes;
    checks.equal(again.backward_bytes - kept.backward_bytes, again.bytes_bound / 5 + weights,
                 "nothing else is sent again");
  }
  return checks.failures();
}

const bool registered =
    register_rank_case("recompute: every mode gives the same bits", same_bits) &&
    register_rank_case("recompute: noise, drops and biases are followed", same_routing) &&
    register_rank_case("recompute: frozen weights and adapters", same_with_frozen_weights) &&
    register_rank_case("recompute: no second exchange of metadata", no_second_metadata);

}  // namespace
}  // namespace dsmoe::test
