#include "modules/key_value_cache.h"

#include <vector>

#include "modules/model.h"
#include "modules/model_census.h"
#include "modules/parameter_store.h"
#include "parallel/local_communicator.h"
#include "tests/modules/numeric.h"
#include "tests/modules/tiny_model.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

config::ModelConfig with_yarn() {
  auto config = test::tiny_model();
  config.rope_scaling = config::RopeScaling{.factor = 4.0,
                                            .original_max_position_embeddings = 8,
                                            .beta_fast = 4.0,
                                            .mscale = 0.7,
                                            .mscale_all_dim = 1.1};
  return config;
}

config::ModelConfig with_plain_query() {
  auto config = test::tiny_model();
  config.q_lora_rank.reset();
  config.v_head_dim = 9;
  return config;
}

config::ModelConfig of_kind(config::AttentionKind kind, std::optional<int64_t> groups) {
  auto config = test::tiny_model();
  config.attention.kind = kind;
  config.num_attention_heads = 4;
  config.num_key_value_heads = groups;
  return config;
}

struct Fixture {
  explicit Fixture(const config::ModelConfig& config, at::ScalarType dtype = at::kDouble)
      : model(config, config::DropConfig{}, config::BatchConfig{}, ep),
        store(model, dtype, train_nothing()) {
    store.initialize(5, 0.5);
  }

  /// Hidden rows of a text run as a whole, as in training.
  at::Tensor whole(const std::vector<int64_t>& ids) {
    const at::NoGradGuard no_grad;
    return model(torch::tensor(ids, at::kLong).unsqueeze(0), SequenceInfo{{0}, {false}, {}}, false)
        .hidden_NM;
  }

  /// The same rows, the text fed to a cache in pieces.
  at::Tensor in_pieces(const std::vector<int64_t>& ids, const std::vector<int64_t>& pieces) {
    KeyValueCache cache(model->config(), model->dtype());
    std::vector<at::Tensor> rows;
    auto next = ids.begin();
    for (const int64_t count : pieces) {
      const std::vector<int64_t> piece(next, next + count);
      const Continuation part{&cache, count};
      rows.push_back(model->extend(torch::tensor(piece, at::kLong), {&part, 1}));
      next += count;
    }
    return at::cat(rows);
  }

  parallel::LocalCommunicator ep{"ep"};
  Model model;
  ParameterStore store;
};

const std::vector<int64_t> kText{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 10};

TEST_CASE("decoding from a cache equals attention over the whole text, however it is fed") {
  using config::AttentionKind;
  for (const auto& config :
       {test::tiny_model(), with_yarn(), with_plain_query(), of_kind(AttentionKind::kMha, {}),
        of_kind(AttentionKind::kGqa, 2), of_kind(AttentionKind::kMqa, {})}) {
    Fixture f(config);
    const at::Tensor wanted_NM = f.whole(kText);
    for (const std::vector<int64_t>& pieces :
         {std::vector<int64_t>{13}, {1, 12}, {7, 1, 1, 1, 1, 1, 1}, {5, 4, 4}, {1, 1, 1, 10}}) {
      CAPTURE(pieces);
      CHECK(test::distance(f.in_pieces(kText, pieces), wanted_NM) < 1e-12);
    }
  }
}

TEST_CASE("absorbed and naive agree to 1e-5 in float32, and in bf16 as bf16 can") {
  for (const auto& [dtype, bound] : {std::pair{at::kFloat, 1e-5}, std::pair{at::kBFloat16, 0.05}}) {
    Fixture f(test::tiny_model(), dtype);
    CHECK(test::distance(f.in_pieces(kText, {6, 1, 1, 1, 4}), f.whole(kText)) < bound);
  }
}

TEST_CASE("texts of a batch do not see each other") {
  Fixture f(test::tiny_model());
  const std::vector<int64_t> other{7, 7, 2, 0, 9};
  KeyValueCache first(f.model->config(), at::kDouble), second(f.model->config(), at::kDouble);
  const auto feed = [&](std::vector<int64_t> ids, int64_t a, int64_t b) {
    const std::vector<Continuation> parts{{&first, a}, {&second, b}};
    return f.model->extend(torch::tensor(ids, at::kLong), parts);
  };
  const at::Tensor fed =
      at::cat({feed({3, 1, 4, 7, 7}, 3, 2), feed({1, 2}, 1, 1), feed({5, 9, 0, 9}, 2, 2)});
  const at::Tensor rows_of_first = fed.index_select(0, torch::tensor({0, 1, 2, 5, 7, 8}));
  const at::Tensor rows_of_second = fed.index_select(0, torch::tensor({3, 4, 6, 9, 10}));
  CHECK(test::distance(rows_of_first, f.whole({3, 1, 4, 1, 5, 9})) < 1e-12);
  CHECK(test::distance(rows_of_second, f.whole(other)) < 1e-12);
}

TEST_CASE("a text cut back goes on as if the rest had never been") {
  Fixture f(test::tiny_model());
  KeyValueCache cache(f.model->config(), at::kDouble);
  const auto feed = [&](const std::vector<int64_t>& ids) {
    const Continuation part{&cache, static_cast<int64_t>(ids.size())};
    return f.model->extend(torch::tensor(ids, at::kLong), {&part, 1});
  };
  feed({3, 1, 4, 8, 8, 8});
  cache.cut(3);
  const at::Tensor last = feed({1, 5}).narrow(0, 1, 1);
  CHECK(test::distance(last, f.whole({3, 1, 4, 1, 5}).narrow(0, 4, 1)) < 1e-12);
}

TEST_CASE("the cache holds as many bytes as the census says") {
  using config::AttentionKind;
  Fixture f(GENERATE(test::tiny_model(), of_kind(AttentionKind::kGqa, 2)), at::kBFloat16);
  KeyValueCache cache(f.model->config(), at::kBFloat16);
  CHECK(cache.bytes() == 0);
  const Continuation part{&cache, 5};
  f.model->extend(torch::tensor({1, 2, 3, 4, 5}, at::kLong), {&part, 1});
  CHECK(cache.bytes() == 5 * 2 * kv_cache_elements(f.model->config()));
}

TEST_CASE("no text at all is legal") {
  Fixture f(test::tiny_model());
  CHECK(f.model->extend(at::empty({0}, at::kLong), {}).size(0) == 0);
}

}  // namespace
}  // namespace dsmoe::nn
