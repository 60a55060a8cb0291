#include "configs/dump.h"

#include <rapidcheck.h>

#include <string>
#include <vector>

#include "configs/fields.h"
#include "configs/resolve.h"
#include "tests/support/catch.h"

namespace {

using namespace dsmoe::config;  // NOLINT: a test of one namespace

int64_t between_of(int64_t low, int64_t high) { return *rc::gen::inRange<int64_t>(low, high + 1); }

double fraction() { return static_cast<double>(between_of(1, 999999)) / 1000003.0; }

bool coin() { return between_of(0, 1) == 1; }

/// Any text of one character or more, with everything that YAML finds special.
std::string odd_text() {
  const std::vector<std::string> parts{"a",  "B",  "7", " ",  ":", "#", "\"", "'",    "\\",
                                       "\n", "\t", "é", "中", "-", "{", "]",  "null", "\x01",
                                       "~",  "&",  "*", "|",  "%", ",", "=",  ".",    "true"};
  std::string text;
  for (int64_t i = between_of(1, 6); i > 0; --i) {
    text += parts[static_cast<size_t>(between_of(0, static_cast<int64_t>(parts.size()) - 1))];
  }
  return text;
}

RopeScaling random_rope() {
  return {1.0 + fraction(), between_of(1, 9000), 2.0 + fraction(),
          fraction(),       fraction(),          fraction()};
}

void fill_attention(ModelConfig& model) {
  model.attention.kind = coin() ? AttentionKind::kMla : AttentionKind::kGqa;
  if (!model.is_mla()) model.num_key_value_heads = between_of(1, 9);
  model.num_attention_heads = model.num_key_value_heads.value_or(1) * between_of(1, 9);
}

void fill_routing(ModelConfig& model) {
  model.n_group = between_of(1, 6);
  const int64_t per_group = between_of(2, 5);
  model.n_routed_experts = model.n_group * per_group;
  model.topk_group = between_of(1, model.n_group);
  model.num_experts_per_tok = between_of(1, model.topk_group * per_group);
  model.topk_method = coin() ? TopkMethod::kGreedy : TopkMethod::kGroupLimitedGreedy;
  model.group_score = coin() ? GroupScore::kMax : GroupScore::kTop2Sum;
  model.norm_topk_prob = coin();
  model.routed_scaling_factor = fraction();
}

ModelConfig random_model() {
  ModelConfig model;
  model.init_from = coin() ? "" : odd_text();
  model.vocab_size = between_of(300, 9000);
  model.hidden_size = between_of(1, 9000);
  model.num_hidden_layers = between_of(3, 90);
  fill_attention(model);
  model.intermediate_size = between_of(1, 9000);
  model.max_position_embeddings = between_of(600, 9000);
  model.q_lora_rank = coin() ? std::optional<int64_t>(between_of(1, 99)) : std::nullopt;
  model.kv_lora_rank = between_of(1, 99);
  model.qk_nope_head_dim = between_of(1, 99);
  model.qk_rope_head_dim = 2 * between_of(1, 99);
  model.v_head_dim = between_of(1, 99);
  fill_routing(model);
  model.n_shared_experts = between_of(0, 3);
  model.moe_intermediate_size = between_of(1, 99);
  model.first_k_dense_replace = between_of(0, 3);
  model.moe_layer_freq = between_of(1, 3);
  model.rms_norm_eps = fraction() * 1e-5;
  model.rope_theta = 1e4 + fraction();
  model.rope_scaling = coin() ? std::optional<RopeScaling>(random_rope()) : std::nullopt;
  model.initializer_range = fraction();
  model.bos_token_id = between_of(0, 299);
  model.eos_token_id = between_of(0, 299);
  return model;
}

void fill_run(RunConfig& config) {
  config.run = {"n" + std::to_string(between_of(0, 99)),
                odd_text(),
                *rc::gen::nonNegative<int64_t>(),
                "cpu",
                coin() ? Precision::kBf16 : Precision::kFp64,
                between_of(0, 4),
                {"norms", "swiglu"},
                between_of(0, 99),
                odd_text(),
                {"model.n_group", "run.seed"}};
  config.data.tokenizer = odd_text();
  config.data.sequence_length = between_of(1, 600);
  config.data.train = {{odd_text(), fraction(), "a"}, {odd_text(), fraction(), "b-2"}};
  config.data.document_mask = coin();
  config.data.stages = {{between_of(1, 9999), {{"b-2", fraction()}, {"a", 1.5}}},
                        {0, {{"a", fraction()}}}};
  config.data.eval = {{odd_text(), 1.0, "c"}};
  config.parallel.backend = coin() ? "auto" : "mpi";
  config.batch = {between_of(1, 99), between_of(1, 9), 1, 0, 0};
  config.batch.pool = config.batch.micro_sequences;
}

void fill_training(RunConfig& config) {
  config.optimizer = {fraction(), {fraction() * 0.9, 0.5}, fraction(), fraction(), fraction(), 3};
  config.schedule = {between_of(9, 999), 0,          between_of(0, 9), ScheduleKind::kWsd,
                     {0.25, 0.5},        fraction(), fraction(),       fraction()};
  config.balance = {fraction(),
                    fraction(),
                    fraction(),
                    fraction(),
                    fraction(),
                    0.0,
                    coin() ? BalanceScope::kPool : BalanceScope::kGlobalBatch,
                    BalanceCount::kAfterDrop,
                    CommunicationRows::kRemote};
  config.router = {0.5 * fraction(), coin()};
  config.drop = {coin() ? DropKind::kNone : DropKind::kExpert, fraction(), fraction(),
                 DropOrder::kPosition};
  config.checkpoint = {between_of(0, 9), between_of(1, 9), coin(), between_of(0, 9)};
  config.log = {between_of(1, 9), between_of(0, 9), between_of(0, 9), coin()};
  config.eval = {between_of(0, 9), between_of(1, 9), coin() ? EvalDrop::kYes : EvalDrop::kBoth};
}

RunConfig random_config() {
  RunConfig config;
  config.model = random_model();
  fill_run(config);
  fill_training(config);
  return config;
}

}  // namespace

TEST_CASE("the dump of any configuration reads back to the same configuration") {
  CHECK(rc::check([] {
    const RunConfig config = random_config();
    const std::string text = dump(config);
    RC_LOG(text);
    RC_ASSERT(resolve_text(text, "dump", {}, {}).config == config);
    RC_ASSERT(dump(resolve_text(text, "dump", {}, {}).config) == text);
  }));
}

TEST_CASE("the dump holds every key") {
  const std::string text = "\n" + dump(RunConfig{});
  for (const Section& section : sections()) {
    CHECK(text.find("\n" + section.name + ":\n") != std::string::npos);
    for (const Row<RunConfig>& row : section.rows) {
      INFO(section.name + "." + row.info.name);
      CHECK(text.find("\n  " + row.info.name + ": " + row.info.default_text + "\n") !=
            std::string::npos);
    }
  }
}

TEST_CASE("differences name the changed keys with both values") {
  RunConfig left;
  RunConfig right;
  CHECK(differences(left, right).empty());
  right.model.rope_scaling = RopeScaling{};
  right.balance.expert = 0.0;
  const std::vector<Difference> found = differences(left, right);
  REQUIRE(found.size() == 2);
  CHECK(found[0].key == "model.rope_scaling");
  CHECK(found[0].left == "null");
  CHECK(found[1].key == "balance.expert");
  CHECK(found[1].left == "0.003");
  CHECK(found[1].right == "0.0");
}
