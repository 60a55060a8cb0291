#include "configs/validate.h"

#include <string>

#include "tests/configs/expect_error.h"
#include "tests/support/catch.h"

namespace {

using namespace dsmoe::config;  // NOLINT: a test of one namespace

/// check_config() complains about a default configuration with one change.
template <class Change>
void expect_refused(const Change& change, std::initializer_list<const char*> texts) {
  RunConfig config;
  change(config);
  expect_config_error([&] { check_config(config); }, texts);
}

RunConfig trainable() {
  RunConfig config;
  config.data.train = {{"a.txt", 1.0, "a"}};
  config.schedule.steps = 10;
  return config;
}

}  // namespace

TEST_CASE("the defaults are a valid configuration") { CHECK_NOTHROW(check_config(RunConfig{})); }

TEST_CASE("key-value heads must be what the kind of attention has") {
  const auto heads_of = [](AttentionKind kind, std::optional<int64_t> heads) {
    return [=](RunConfig& c) {
      c.model.attention.kind = kind;
      c.model.num_key_value_heads = heads;
    };
  };
  expect_refused(heads_of(AttentionKind::kGqa, {}),
                 {"model.num_key_value_heads must be given with model.attention.kind=gqa"});
  expect_refused(heads_of(AttentionKind::kGqa, 3),
                 {"model.num_attention_heads (4) must be divisible by "
                  "model.num_key_value_heads (3)"});
  expect_refused(heads_of(AttentionKind::kMqa, 2),
                 {"model.num_key_value_heads (2) must equal 1 with model.attention.kind=mqa"});
  expect_refused(heads_of(AttentionKind::kMha, 2),
                 {"model.num_key_value_heads (2) must equal model.num_attention_heads (4)"});
  expect_refused([](RunConfig& c) { c.model.qk_nope_head_dim = 0; },
                 {"model.qk_nope_head_dim (0) must be at least 1 with mla"});
}

TEST_CASE("experts must fit their groups") {
  expect_refused(
      [](RunConfig& c) {
        c.model.n_routed_experts = 63;
        c.model.n_group = 8;
      },
      {"model.n_routed_experts (63) must be divisible by model.n_group (8)"});
  expect_refused([](RunConfig& c) { c.model.topk_group = 5; },
                 {"model.topk_group (5) must not be larger than model.n_group (4)"});
  expect_refused(
      [](RunConfig& c) {
        c.model.topk_group = 1;
        c.model.num_experts_per_tok = 5;
      },
      {"model.topk_group (1) groups of 4 experts hold 4, fewer than "
       "model.num_experts_per_tok (5)"});
  expect_refused(
      [](RunConfig& c) {
        c.model.num_experts_per_tok = 17;
        c.model.topk_method = TopkMethod::kGreedy;
      },
      {"model.num_experts_per_tok (17) must not be larger than model.n_routed_experts (16)"});
  expect_refused(
      [](RunConfig& c) {
        c.model.n_group = 16;
        c.model.topk_group = 8;
        c.model.group_score = GroupScore::kTop2Sum;
      },
      {"model.group_score (top2_sum) needs two experts in a group, model.n_routed_experts (16) "
       "over "
       "model.n_group (16) gives one"});
}

TEST_CASE("the sum of the best K / M affinities needs M to divide K") {
  expect_refused(
      [](RunConfig& c) {
        c.model.group_score = GroupScore::kTopkSum;
        c.model.num_experts_per_tok = 3;
      },
      {"model.num_experts_per_tok (3) must be divisible by model.topk_group (2)"});
}

TEST_CASE("only keys that exist may be allowed to change") {
  expect_refused([](RunConfig& c) { c.run.allow_change = {"batch.sequences", "batch.sequence"}; },
                 {"run.allow_change: `batch.sequence` is no key such as batch.sequences"});
}

TEST_CASE("greedy routing needs no more than whole groups") {
  RunConfig config;
  config.model.topk_method = TopkMethod::kGreedy;
  config.model.topk_group = 1;
  config.model.num_experts_per_tok = 6;
  CHECK_NOTHROW(check_config(config));
}

TEST_CASE("the shape of the model must fit itself") {
  expect_refused([](RunConfig& c) { c.model.qk_rope_head_dim = 31; },
                 {"model.qk_rope_head_dim (31) must be even"});
  expect_refused([](RunConfig& c) { c.model.first_k_dense_replace = 5; },
                 {"model.first_k_dense_replace (5) must not be larger than "
                  "model.num_hidden_layers (4)"});
  expect_refused([](RunConfig& c) { c.model.vocab_size = 257; },
                 {"model.eos_token_id (257) must be smaller than model.vocab_size (257)"});
  expect_refused(
      [](RunConfig& c) { c.model.rope_scaling = RopeScaling{2.0, 8, 1.0, 1.0, 1.0, 0.0}; },
      {"model.rope_scaling.beta_fast must be larger"});
  expect_refused([](RunConfig& c) { c.data.sequence_length = 5000; },
                 {"data.sequence_length (5000) must not be larger than "
                  "model.max_position_embeddings (4096)"});
}

TEST_CASE("a bias moves only where the router has one") {
  expect_refused([](RunConfig& c) { c.balance.bias_rate = 0.001; },
                 {"balance.bias_rate (0.001000)", "model.topk_method noaux_tc"});
}

TEST_CASE("a pipeline must fit the layers and its schedule") {
  expect_refused([](RunConfig& c) { c.parallel.pipeline = 99; },
                 {"parallel.pipeline (99) times parallel.chunks (1) is more than "
                  "model.num_hidden_layers"});
  expect_refused(
      [](RunConfig& c) {
        c.parallel.pipeline = 2;
        c.parallel.schedule = "interleaved";
      },
      {"parallel.chunks (1) with parallel.schedule: interleaved", "at least 2"});
  expect_refused(
      [](RunConfig& c) {
        c.parallel.pipeline = 2;
        c.parallel.chunks = 2;
      },
      {"parallel.chunks (2) with parallel.schedule: 1f1b"});
  expect_refused(
      [](RunConfig& c) {
        c.parallel.pipeline = 2;
        c.parallel.stage_layers = {1, 2, 1};
      },
      {"parallel.stage_layers lists 3 counts", "2"});
  expect_refused(
      [](RunConfig& c) {
        c.model.num_hidden_layers = 4;
        c.parallel.pipeline = 2;
        c.parallel.stage_layers = {1, 2};
      },
      {"parallel.stage_layers add up to 3, not to model.num_hidden_layers (4)"});
}

TEST_CASE("what is computed again is named once") {
  const auto refused = [](const std::vector<std::string>& names, const char* why) {
    expect_refused([&](RunConfig& c) { c.run.recompute = names; }, {"run.recompute: ", why});
  };
  refused({"everything"}, "`everything` is none of layer, norms, mla_up, swiglu, experts, moe");
  refused({"layer", "moe"},
          "layer already computes everything again; the other 1 would do nothing");
  refused({"moe", "experts"}, "moe already computes the routed experts again");
}

TEST_CASE("expert parallelism must fit experts, groups and ranks") {
  RunConfig config;
  config.model.n_routed_experts = 24;
  config.parallel.expert = 5;
  expect_config_error([&] { check_config(config); },
                      {"model.n_routed_experts (24) must be divisible by parallel.expert (5)",
                       "parallel.expert (5) must divide model.n_group (4) or be a multiple of it"});
  config.parallel.expert = 4;
  CHECK_NOTHROW(check_config(config));
  expect_config_error([&] { check_layout(config, 6); },
                      {"the number of ranks (6) must be divisible by parallel.pipeline (1) times "
                       "parallel.expert (4)"});
  CHECK_NOTHROW(check_layout(config, 8));
  config.parallel.expert = 8;
  CHECK_NOTHROW(check_layout(config, 8));
  config.model.n_routed_experts = 0;
  expect_config_error([&] { check_config(config); },
                      {"parallel.expert (8) must be 1 where model.n_routed_experts is 0"});
  config.parallel = {};
  config.parallel.backend = "local";
  expect_config_error([&] { check_layout(config, 2); }, {"parallel.backend (local)"});
}

TEST_CASE("what an EP group takes at a time must be whole pools") {
  RunConfig config;
  config.parallel.expert = 2;
  config.batch.micro_sequences = 3;
  config.batch.pool = 4;
  expect_config_error([&] { check_config(config); },
                      {"parallel.expert (2) times batch.micro_sequences (3) must be divisible by "
                       "batch.pool (4)"});
  config.batch.pool = 6;
  CHECK_NOTHROW(check_config(config));
}

TEST_CASE("schedule and batch ramp must make sense") {
  expect_refused(
      [](RunConfig& c) {
        c.schedule.steps = 5;
        c.schedule.tokens = 7;
      },
      {"schedule.steps (5) and schedule.tokens (7) must not both be given"});
  expect_refused(
      [](RunConfig& c) {
        c.schedule.steps = 5;
        c.schedule.warmup_steps = 6;
      },
      {"schedule.warmup_steps (6) must not be larger than schedule.steps (5)"});
  expect_refused(
      [](RunConfig& c) {
        c.schedule.tokens = 16384;
        c.schedule.warmup_steps = 2;
      },
      {"schedule.warmup_steps (2) of 16384 tokens must not be longer than schedule.tokens "
       "(16384)"});
  expect_refused([](RunConfig& c) { c.schedule.at = {0.5, 0.5}; }, {"schedule.at must ascend"});
  expect_refused([](RunConfig& c) { c.batch.ramp_from = 5; },
                 {"batch.ramp_from (5) and batch.ramp_steps (0)"});
  expect_refused(
      [](RunConfig& c) {
        c.batch.ramp_from = 65;
        c.batch.ramp_steps = 5;
      },
      {"batch.ramp_from (65) must not be larger than batch.sequences (64)"});
}

TEST_CASE("two sources of one list may not have the same name") {
  RunConfig config;
  config.data.train = {{"a", 1.0, "x"}, {"b", 1.0, "y"}, {"c", 1.0, "x"}};
  config.data.eval = {{"a", 1.0, "x"}};
  expect_config_error([&] { check_config(config); },
                      {"data.train[0] and [2] have the same name, x"});
}

TEST_CASE("a stage names sources of data.train, and only the last may have no length") {
  const auto expect = [](std::vector<DataStage> stages, std::initializer_list<const char*> texts) {
    RunConfig config;
    config.data.train = {{"a", 1.0, "web"}, {"b", 1.0, "code"}};
    config.data.stages = std::move(stages);
    expect_config_error([&] { check_config(config); }, texts);
  };
  expect(
      {{0, {{"wbe", 1.0}}}},
      {"data.stages[0].weights.wbe: no source of data.train has that name; they are web", "code"});
  expect({{100, {}}}, {"data.stages[0].weights names no source"});
  expect({{0, {{"web", 1.0}}}, {10, {{"code", 1.0}}}},
         {"data.stages[0].tokens is missing: only the last of 2 stages"});
}

TEST_CASE("training needs data, a length and a tokenizer that fits") {
  CHECK_NOTHROW(check_training(trainable()));
  RunConfig config = trainable();
  config.data.train.clear();
  config.schedule.steps = 0;
  config.model.vocab_size = 258;
  config.model.bos_token_id = 1;
  expect_config_error([&] { check_training(config); },
                      {"data.train is empty", "schedule.steps (0) and schedule.tokens (0)",
                       "model.vocab_size (258) must be at least 259",
                       "model.bos_token_id (1) and model.eos_token_id (257) must be 256 and 257"});
  config = trainable();
  config.model.vocab_size = 100;
  config.data.tokenizer = "tokenizer.json";
  CHECK_NOTHROW(check_training(config));
}

TEST_CASE("a changed key that nothing reads is noticed") {
  RunConfig config;
  CHECK(without_effect(config).empty());
  config.schedule.kind = ScheduleKind::kCosine;
  config.schedule.factor = 0.5;
  config.schedule.min_ratio = 0.1;
  config.drop.kind = DropKind::kNone;
  config.drop.capacity = 2.0;
  config.parallel.pipeline = 2;
  config.parallel.put_off = 0.5;
  const std::vector<std::string> notices = without_effect(config);
  REQUIRE(notices.size() == 3);
  CHECK(notices[0] == "parallel.put_off has no effect with parallel.schedule: 1f1b");
  CHECK(notices[1] == "schedule.factor has no effect with a schedule.kind other than step");
  CHECK(notices[2] == "drop.capacity has no effect with drop.kind: none");
}

TEST_CASE("recomputation of what a model does not have is noticed") {
  const auto notices = [](std::vector<std::string> names, const auto& change) {
    RunConfig config;
    config.run.recompute = std::move(names);
    change(config.model);
    return without_effect(config);
  };
  const auto as_it_is = [](ModelConfig&) {};
  const auto dense = [](ModelConfig& m) { m.n_routed_experts = 0; };
  const auto all_routed = [](ModelConfig& m) { m.first_k_dense_replace = 0; };
  CHECK(notices({"norms", "mla_up", "swiglu", "moe"}, as_it_is).empty());
  CHECK(notices({"moe"}, dense) ==
        std::vector<std::string>{
            "run.recompute: moe has no effect without a layer of routed experts"});
  CHECK(notices({"swiglu", "moe"}, all_routed) ==
        std::vector<std::string>{
            "run.recompute: swiglu has no effect without a dense layer and with moe"});
}
