// Layout invariance, design promise 1: the same numbers on any ranks and any accumulation.
#include <cmath>
#include <string>

#include "parallel/local_communicator.h"
#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"
#include "tests/support/tiny_run.h"

namespace dsmoe::test {
namespace {

constexpr double kAngle = 100;  // a cosine near 0 is a sum that all but cancels

struct Layout {
  int64_t expert;
  int64_t micro;
};

std::string describe(const Layout& layout, int64_t pool) {
  return "expert " + std::to_string(layout.expert) + ", micro " + std::to_string(layout.micro) +
         ", pool " + std::to_string(pool) + ": ";
}

void near(Checks& checks, double actual, double expected, double tolerance,
          const std::string& what) {
  const double gap = std::abs(actual - expected) / std::max(std::abs(expected), 1e-300);
  checks.that(actual == expected || gap <= tolerance,
              what + " is " + std::to_string(actual) + ", one rank has " +
                  std::to_string(expected) + ", relative gap " + std::to_string(gap * 1e12) +
                  "e-12");
}

void compare_reports(Checks& checks, const train::StepReport& a, const train::StepReport& b,
                     double tolerance, const std::string& what) {
  near(checks, a.loss, b.loss, tolerance, what + "loss");
  near(checks, a.loss_total, b.loss_total, tolerance, what + "loss_total");
  near(checks, a.grad_norm, b.grad_norm, tolerance, what + "grad_norm");
  near(checks, a.balance.expert, b.balance.expert, tolerance, what + "balance.expert");
  near(checks, a.balance.device, b.balance.device, tolerance, what + "balance.device");
  near(checks, a.balance.communication, b.balance.communication, tolerance,
       what + "balance.communication");
  near(checks, a.load.max_vio, b.load.max_vio, 1e-15, what + "load.max_vio");
  near(checks, a.drop.rate, b.drop.rate, 1e-15, what + "drop.rate");
  near(checks, a.drop.tokens, b.drop.tokens, 1e-15, what + "drop.tokens");
  near(checks, a.drop.tokens_lost, b.drop.tokens_lost, 1e-15, what + "drop.tokens_lost");
  near(checks, a.drop.mass, b.drop.mass, tolerance, what + "drop.mass");
  near(checks, a.router.entropy, b.router.entropy, tolerance, what + "router.entropy");
  near(checks, a.router.topk_mass, b.router.topk_mass, tolerance, what + "router.topk_mass");
  near(checks, a.balance.z, b.balance.z, tolerance, what + "balance.z");
  near(checks, a.balance.complementary, b.balance.complementary, tolerance,
       what + "balance.complementary");
  near(checks, a.load.received_vio, b.load.received_vio, 1e-15, what + "load.received_vio");
  for (size_t i = 0; i < a.layers.size(); ++i) {
    checks.that(a.layers[i].pairs == b.layers[i].pairs, what + "pairs of each expert");
    checks.that(a.layers[i].sent == b.layers[i].sent, what + "rows from each group");
    checks.that(a.layers[i].devices == b.layers[i].devices, what + "tokens by groups visited");
  }
  checks.equal(a.interference.has_value(), b.interference.has_value(), what + "interference");
  if (a.interference && b.interference) {
    near(checks, a.interference->ratio, b.interference->ratio, tolerance, what + "pull on routers");
    near(checks, a.interference->cosine, b.interference->cosine, kAngle * tolerance,
         what + "cosine of that pull");
  }
  near(checks, a.protected_share, b.protected_share, 1e-15, what + "drop.protected");
  near(checks, a.traffic.devices_per_token, b.traffic.devices_per_token, 1e-15,
       what + "devices_per_token");
  checks.equal(a.traffic.bytes, a.traffic.bytes_bound + a.traffic.metadata_bytes,
               what + "bytes on the wire are the bound and the metadata");
}

void compare(Checks& checks, const TinyGradients& actual, const TinyGradients& oracle,
             double tolerance, const std::string& what) {
  compare_reports(checks, actual.report, oracle.report, tolerance, what);
  for (const auto& [name, gradient] : actual.gradients) {
    const double gap = distance(gradient, oracle.gradients.at(name));
    checks.that(gap <= tolerance,
                what + "gradient of " + name + " is off by " + std::to_string(gap * 1e12) + "e-12");
  }
}

TinyGradients oracle_of(config::RunConfig config, const TinyBatches& batches) {
  config.parallel.expert = 1;
  config.batch.micro_sequences = 8;
  parallel::LocalCommunicator alone("world");
  return tiny_gradients(config, batches, alone);
}

/// Every expert size that divides the world, accumulation of 1, 2, 4 and more.
Failures compare_layouts(parallel::Communicator& world, const config::RunConfig& base,
                         const TinyBatches& batches, double tolerance) {
  Checks checks;
  const TinyGradients oracle = oracle_of(base, batches);
  for (int64_t expert = 1; expert <= world.size(); expert *= 2) {
    for (const int64_t micro : {1, 2, 4}) {
      if (expert * micro % base.batch.pool != 0) continue;
      config::RunConfig config = base;
      config.parallel.expert = expert;
      config.batch.micro_sequences = micro;
      compare(checks, tiny_gradients(config, batches, world), oracle, tolerance,
              describe({expert, micro}, base.batch.pool));
    }
  }
  return checks.failures();
}

constexpr double kExact = 1e-12;
constexpr double kSingle = 1e-6;

Failures any_layout(parallel::Communicator& world) {
  return compare_layouts(world, tiny_run(), {}, kExact);
}

Failures pools_of_several_sequences(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.batch.pool = 4;
  config.drop.capacity = 0.6;
  config.drop.protected_fraction = 0.3;
  Failures failures = compare_layouts(world, config, {}, kExact);
  config.batch.pool = 2;
  const Failures more = compare_layouts(world, config, {}, kExact);
  failures.insert(failures.end(), more.begin(), more.end());
  return failures;
}

Failures ragged_batches(parallel::Communicator& world) {
  return compare_layouts(world, tiny_run(), {.sequences = 5}, kExact);
}

Failures padded_sequences(parallel::Communicator& world) {
  return compare_layouts(world, tiny_run(), {.padded = true}, kExact);
}

Failures packed_documents(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.batch.pool = 2;
  Failures failures = compare_layouts(world, config, {.documents = true}, kExact);
  const Failures more = compare_layouts(
      world, tiny_run(), {.sequences = 5, .padded = true, .documents = true}, kExact);
  failures.insert(failures.end(), more.begin(), more.end());
  return failures;
}

Failures starved_ranks(parallel::Communicator& world) {
  return compare_layouts(world, tiny_run(), {.starved = true}, kExact);
}

Failures single_precision(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.run.precision = config::Precision::kFp32;
  return compare_layouts(world, config, {}, kSingle);
}

Failures dropping_by_experts(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.batch.pool = 4;
  config.drop.kind = config::DropKind::kExpert;
  Failures failures = compare_layouts(world, config, {}, kExact);
  config.drop.by = config::DropOrder::kPosition;
  const Failures more = compare_layouts(world, config, {.padded = true}, kExact);
  failures.insert(failures.end(), more.begin(), more.end());
  return failures;
}

/// Every loss, over pools or the whole batch, with loads that depend on drops and homes.
Failures wider_scopes(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.batch.pool = 4;
  config.balance.z = 0.01;
  config.balance.complementary = 0.02;
  config.balance.communication_rows = config::CommunicationRows::kRemote;
  config.balance.scope = config::BalanceScope::kPool;
  Failures failures = compare_layouts(world, config, {.padded = true}, kExact);
  config.balance.scope = config::BalanceScope::kGlobalBatch;
  config.balance.count = config::BalanceCount::kAfterDrop;
  for (const TinyBatches& batches : {TinyBatches{}, TinyBatches{.sequences = 5, .padded = true}}) {
    const Failures more = compare_layouts(world, config, batches, kExact);
    failures.insert(failures.end(), more.begin(), more.end());
  }
  return failures;
}

/// V3's router with a bias that sends tokens elsewhere than their affinities would.
Failures biased_sigmoid_router(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.model.scoring_func = config::ScoringFunc::kSigmoid;
  config.model.topk_method = config::TopkMethod::kNoauxTc;
  config.model.group_score = config::GroupScore::kTop2Sum;
  config.model.norm_topk_prob = true;
  return compare_layouts(world, config, {.biased = true}, kExact);
}

/// Noise on the routers' inputs, and experts dealt out in turn.
Failures varied_routers(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.router.jitter = 0.3;
  Failures failures = compare_layouts(world, config, {.sequences = 5, .padded = true}, kExact);
  config.router.force_balance = true;
  const Failures more = compare_layouts(world, config, {}, kExact);
  failures.insert(failures.end(), more.begin(), more.end());
  return failures;
}

Failures grouped_query_attention(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.model.attention.kind = config::AttentionKind::kGqa;
  config.model.num_attention_heads = 4;
  config.model.num_key_value_heads = 2;
  return compare_layouts(world, config, {.documents = true}, kExact);
}

/// Only some experts are trained, so that some ranks have nothing to train in a layer.
config::RunConfig few_experts() {
  config::RunConfig config = tiny_run();
  config.finetune.freeze = {"embeddings",
                            "head",
                            "attention",
                            "router",
                            "dense",
                            "norms",
                            "shared_experts",
                            "*.layers.1.mlp.experts.[0-4].*",
                            "*.layers.1.mlp.experts.6.down_proj*",
                            "*.layers.2.mlp.experts.[1-7].*"};
  return config;
}

/// What is trained has the gradient it has where everything is.
void compare_to_full(Checks& checks, const TinyGradients& some) {
  const TinyGradients all = oracle_of(tiny_run(), {});
  checks.that(some.gradients.size() == 8 + 3, "eleven tensors are trained");
  for (const auto& [name, gradient] : some.gradients) {
    checks.that(gradient.equal(all.gradients.at(name)),
                "gradient of " + name + " beside frozen ones");
  }
}

Failures frozen_weights(parallel::Communicator& world) {
  Failures failures = compare_layouts(world, few_experts(), {}, kExact);
  Checks checks;
  compare_to_full(checks, oracle_of(few_experts(), {}));
  config::RunConfig config = tiny_run();
  config.finetune.freeze = {"routed_experts", "router", "model.layers.[01].*"};
  for (const Failures& more :
       {checks.failures(), compare_layouts(world, config, {.padded = true}, kExact)}) {
    failures.insert(failures.end(), more.begin(), more.end());
  }
  return failures;
}

/// Where a gradient ends must not depend on whether a rank has rows: others would wait for it.
Failures one_class_of_weights(parallel::Communicator& world) {
  const std::vector<std::string> classes{"embeddings", "head",          "attention",
                                         "router",     "dense",         "shared_experts",
                                         "norms",      "routed_experts"};
  Failures failures;
  for (const std::string& trained : classes) {
    config::RunConfig config = tiny_run();
    for (const std::string& other : classes) {
      if (other != trained) config.finetune.freeze.push_back(other);
    }
    const Failures more = compare_layouts(world, config, {.sequences = 2, .padded = true}, kExact);
    failures.insert(failures.end(), more.begin(), more.end());
  }
  return failures;
}

/// What an adapter leaves out of its inputs does not depend on where a row is computed.
Failures adapters_with_dropout(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.finetune.method = config::FinetuneMethod::kLora;
  config.finetune.lora.rank = 2;
  config.finetune.lora.dropout = 0.3;
  config.finetune.lora.target = {"attention", "head"};
  return compare_layouts(world, config, {.padded = true}, kExact);
}

/// Adapters beside every matrix that takes one, experts on every rank.
Failures low_rank_adapters(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.finetune.method = config::FinetuneMethod::kLora;
  config.finetune.lora.rank = 2;
  Failures failures = compare_layouts(world, config, {.padded = true}, kExact);
  config.finetune.lora.target = {"routed_experts"};
  const Failures more = compare_layouts(world, config, {.starved = true}, kExact);
  failures.insert(failures.end(), more.begin(), more.end());
  return failures;
}

const bool registered =
    register_rank_case("layout: any expert size and accumulation gives one rank's gradient",
                       any_layout) &&
    register_rank_case("layout: pools of several sequences drop the same pairs",
                       pools_of_several_sequences) &&
    register_rank_case("layout: a batch that does not divide leaves empty micro-batches",
                       ragged_batches) &&
    register_rank_case("layout: padding never counts", padded_sequences) &&
    register_rank_case("layout: documents that attend within themselves", packed_documents) &&
    register_rank_case("layout: ranks and experts that nobody chooses", starved_ranks) &&
    register_rank_case("layout: capacity of each expert", dropping_by_experts) &&
    register_rank_case("layout: balance losses over pools and the whole batch", wider_scopes) &&
    register_rank_case("layout: V3's router", biased_sigmoid_router) &&
    register_rank_case("layout: jitter and forced balance", varied_routers) &&
    register_rank_case("layout: grouped-query attention", grouped_query_attention) &&
    register_rank_case("layout: frozen weights, whole layers or single experts", frozen_weights) &&
    register_rank_case("layout: one class of weights alone is trained", one_class_of_weights) &&
    register_rank_case("layout: low-rank adapters, those of experts too", low_rank_adapters) &&
    register_rank_case("layout: dropout of adapters' inputs", adapters_with_dropout) &&
    register_rank_case("layout: single precision agrees to 1e-6", single_precision);

}  // namespace
}  // namespace dsmoe::test
