// Layout invariance, design promise 1: the same numbers on any ranks and any accumulation.
#include <string>

#include "tests/support/compare_runs.h"
#include "tests/support/rank_suite.h"

namespace dsmoe::test {
namespace {

struct Layout {
  int64_t expert;
  int64_t micro;
  int64_t ranks_per_node;
};

std::string describe(const Layout& layout, int64_t pool) {
  return "expert " + std::to_string(layout.expert) + ", micro " + std::to_string(layout.micro) +
         ", ranks per node " + std::to_string(layout.ranks_per_node) + ", pool " +
         std::to_string(pool) + ": ";
}

/// Every expert size that divides the world, accumulation of 1, 2, 4 and more, with two hops where
/// the experts lie on four ranks or more.
Failures compare_layouts(parallel::Communicator& world, const config::RunConfig& base,
                         const TinyBatches& batches, double tolerance) {
  Checks checks;
  const TinyGradients oracle = gradients_alone(base, batches);
  for (int64_t expert = 1; expert <= world.size(); expert *= 2) {
    for (const int64_t micro : {1, 2, 4}) {
      if (expert * micro % base.batch.pool != 0) continue;
      config::RunConfig config = base;
      config.parallel.expert = expert;
      config.batch.micro_sequences = micro;
      for (const int64_t node : {0, 2}) {
        if (node > 0 && expert <= node) continue;
        config.parallel.ranks_per_node = node;
        compare_gradients(checks, tiny_gradients(config, batches, world), oracle, tolerance,
                          describe({expert, micro, node}, base.batch.pool));
      }
    }
  }
  return checks.failures();
}

constexpr double kExact = 1e-12;
constexpr double kSingle = 1e-6;
constexpr double kBf16 = 0.03;

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
  append(failures, compare_layouts(world, config, {}, kExact));
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
  append(failures, compare_layouts(world, tiny_run(),
                                   {.sequences = 5, .padded = true, .documents = true}, kExact));
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

/// Experts are dealt out, so that rounding does not choose others.
Failures low_precision(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.run.precision = config::Precision::kBf16;
  config.router.force_balance = true;
  config.drop.kind = config::DropKind::kNone;
  return compare_layouts(world, config, {}, kBf16);
}

Failures dropping_by_experts(parallel::Communicator& world) {
  config::RunConfig config = tiny_run();
  config.batch.pool = 4;
  config.drop.kind = config::DropKind::kExpert;
  Failures failures = compare_layouts(world, config, {}, kExact);
  config.drop.by = config::DropOrder::kPosition;
  append(failures, compare_layouts(world, config, {.padded = true}, kExact));
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
    append(failures, compare_layouts(world, config, batches, kExact));
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
  append(failures, compare_layouts(world, config, {}, kExact));
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
  const TinyGradients all = gradients_alone(tiny_run(), {});
  checks.that(some.gradients.size() == 8 + 3, "eleven tensors are trained");
  for (const auto& [name, gradient] : some.gradients) {
    checks.that(gradient.equal(all.gradients.at(name)),
                "gradient of " + name + " beside frozen ones");
  }
}

Failures frozen_weights(parallel::Communicator& world) {
  Failures failures = compare_layouts(world, few_experts(), {}, kExact);
  Checks checks;
  compare_to_full(checks, gradients_alone(few_experts(), {}));
  config::RunConfig config = tiny_run();
  config.finetune.freeze = {"routed_experts", "router", "model.layers.[01].*"};
  append(failures, checks.failures());
  append(failures, compare_layouts(world, config, {.padded = true}, kExact));
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
    append(failures, compare_layouts(world, config, {.sequences = 2, .padded = true}, kExact));
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
  append(failures, compare_layouts(world, config, {.starved = true}, kExact));
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
    register_rank_case("layout: single precision agrees to 1e-6", single_precision) &&
    register_rank_case("layout: bf16 agrees to 3e-2", low_precision);

}  // namespace
}  // namespace dsmoe::test
