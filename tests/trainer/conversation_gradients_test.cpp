// Gradients of packed conversations against the same conversations fed one by one.
#include <nlohmann/json.hpp>

#include "data/byte_tokenizer.h"
#include "data/loader.h"
#include "data/sample_row.h"
#include "data/token_sample.h"
#include "parallel/local_communicator.h"
#include "tests/data/files.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"
#include "tests/support/tiny_run.h"
#include "trainer/gradients.h"
#include "trainer/session.h"

namespace {

using namespace dsmoe;  // NOLINT: a test across floors

/// Several turns, several lengths, a masked answer and one that counts half.
std::vector<std::string> conversations() {
  std::vector<std::string> rows;
  for (int i = 0; i < 9; ++i) {
    const std::string answer(static_cast<size_t>(1 + 3 * i % 11), static_cast<char>('a' + i));
    const std::string weight = i % 3 == 1 ? R"(, "weight": 0.5)" : "";
    std::string row = R"({"messages": [{"role": "user", "content": "q)" + std::to_string(i) +
                      R"("}, {"role": "assistant", "content": ")" + answer + "\"" + weight + "}";
    if (i % 2 == 0) {
      row += R"(, {"role": "user", "content": "more"}, {"role": "assistant", "content": "no", )"
             R"("weight": 0}, {"role": "user", "content": "?"}, {"role": "assistant", )"
             R"("content": "yes"})";
    }
    rows.push_back(row + "]}");
  }
  return rows;
}

/// One conversation as a batch of its own, without padding.
data::TokenBatch alone(const std::string& row, int64_t number) {
  const data::ByteTokenizer bytes;
  const auto sample =
      data::encode_sample(data::parse_sample(nlohmann::json::parse(row), {}, "row"), bytes);
  const auto n = static_cast<int64_t>(sample.tokens.size());
  const at::Tensor tokens = torch::tensor(sample.tokens, at::kLong).unsqueeze(0);
  const at::Tensor weights = torch::tensor(sample.weights, at::kFloat).unsqueeze(0);
  data::TokenBatch batch{
      tokens.slice(1, 0, n - 1).contiguous(), tokens.slice(1, 1).clone(), {}, {number}};
  batch.weights_BT = weights.slice(1, 1).contiguous();
  batch.targets_BT.masked_fill_(batch.weights_BT.eq(0), data::kNoTarget);
  return batch;
}

config::RunConfig tuning(const std::string& path) {
  config::RunConfig config = test::tiny_run();
  config.model.vocab_size = 259;
  config.model.max_position_embeddings = 256;
  config.data.tokenizer = "byte";
  config.data.packing = config::Packing::kWhole;
  config.data.document_mask = true;
  config.data.sequence_length = 100;
  config.data.train = {{path, 1.0, "talk"}};
  config.drop.kind = config::DropKind::kNone;
  return config;
}

struct Computed {
  train::StepReport report;
  nn::FlatPair gradients;
};

Computed compute(const config::RunConfig& config, const train::MicroBatches& batches) {
  parallel::LocalCommunicator world("world");
  train::Session session(config, world, /*ranks_on_cores=*/1);
  session.store.initialize(1, 0.3);
  train::Optimizer optimizer(config.optimizer, session.store);
  train::TrainContext context{session.config, session.topology, session.world, session.groups,
                              session.model,  session.store,    optimizer};
  Computed result;
  train::compute_gradients(context, batches, 1, 0, result.report);
  result.gradients = {session.store.gradients().dense.clone(),
                      session.store.gradients().expert.clone()};
  return result;
}

TEST_CASE("packed, masked conversations of several turns learn as if fed one by one") {
  const test::TempDirectory folder;
  std::string lines;
  train::MicroBatches singly;
  for (const std::string& row : conversations()) {
    lines += row + "\n";
    singly.push_back(alone(row, static_cast<int64_t>(singly.size())));
  }
  const auto config = tuning(test::write_file(folder / "talk.jsonl", lines));
  data::Loader loader(config.data, 1);
  const int64_t rows = loader.sequences_per_epoch();
  REQUIRE(rows > 1);
  REQUIRE(rows < 9);

  const Computed packed = compute(config, {loader.load({0, rows})});
  const Computed each = compute(config, singly);
  CHECK(packed.report.loss == Approx(each.report.loss).epsilon(1e-13));
  CHECK(packed.report.targets == each.report.targets);
  CHECK(packed.report.loss_total == Approx(each.report.loss_total).epsilon(1e-13));
  CHECK(test::distance(packed.gradients.dense, each.gradients.dense) < 1e-12);
  CHECK(test::distance(packed.gradients.expert, each.gradients.expert) < 1e-12);

  // The comparison can fail: one conversation fewer is another gradient.
  singly.pop_back();
  CHECK(test::distance(compute(config, singly).gradients.dense, packed.gradients.dense) > 1e-3);
}

TEST_CASE("an answer of weight 0.5 counts half, in the loss and in what it is divided by") {
  const std::string half = R"({"messages": [{"role": "user", "content": "x"},
      {"role": "assistant", "content": "one", "weight": 0.5}]})";
  const std::string full = R"({"messages": [{"role": "user", "content": "y"},
      {"role": "assistant", "content": "seven"}]})";
  config::RunConfig config = tuning("unread");
  config.balance = {.expert = 0, .device = 0, .communication = 0};
  const Computed both = compute(config, {alone(half, 0), alone(full, 1)});
  const Computed first = compute(config, {alone(half, 0)});
  const Computed second = compute(config, {alone(full, 0)});
  const double a = 0.5 * 5, b = 7;  // " one" and " seven", each with its EOS
  CHECK(both.report.targets == a + b);
  CHECK(both.report.loss ==
        Approx((a * first.report.loss + b * second.report.loss) / (a + b)).epsilon(1e-13));
}

}  // namespace
