#include "data/eval_set.h"

#include <algorithm>
#include <string>
#include <vector>

#include "configs/errors.h"
#include "data/byte_tokenizer.h"
#include "tests/data/files.h"
#include "tests/data/token_pair.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"

namespace dsmoe::data {
namespace {

const std::vector<std::string> kTexts{"abcde", "", "0123456789abcde", "xyz"};

/// The four texts, whose 6, 1, 16 and 4 predictions make 2, 1, 4 and 1 windows of 4.
std::string corpus_in(const test::TempDirectory& folder) {
  std::string lines;
  for (const std::string& text : kTexts) {
    lines += "{\"text\": \"" + text + "\"}\n";
  }
  return test::write_file(folder / "eval.jsonl", lines);
}

template <typename T>
std::vector<T> values(const at::Tensor& tensor) {
  const T* data = tensor.data_ptr<T>();
  return std::vector<T>(data, data + tensor.numel());
}

/// Targets with a loss, and the input of each, in order.
std::vector<std::pair<int64_t, int64_t>> predictions(const TokenBatch& batch) {
  const auto inputs = values<int64_t>(batch.inputs_BT);
  const auto targets = values<int64_t>(batch.targets_BT);
  std::vector<std::pair<int64_t, int64_t>> result;
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] != kNoTarget) result.emplace_back(inputs[i], targets[i]);
  }
  return result;
}

std::vector<std::pair<int64_t, int64_t>> every_step_of_every_document() {
  std::vector<std::pair<int64_t, int64_t>> result;
  for (const std::string& text : kTexts) {
    std::vector<int64_t> ids = ByteTokenizer().encode(text);
    ids.push_back(ByteTokenizer::kEos);
    int64_t before = ByteTokenizer::kBos;
    for (const int64_t id : ids) {
      result.emplace_back(before, id);
      before = id;
    }
  }
  return result;
}

TEST_CASE("every token after BOS is predicted exactly once, whatever the window and the batch") {
  const test::TempDirectory folder;
  const std::string path = corpus_in(folder);
  for (const int64_t window : {1, 2, 4, 5, 6, 16, 100}) {
    const EvalSet set(path, ByteTokenizer(), window);
    for (const int64_t rows : {1, 3, 100}) {
      std::vector<std::pair<int64_t, int64_t>> all;
      for (int64_t begin = 0; begin < set.num_windows(); begin += rows) {
        const auto some = predictions(set.load(begin, begin + rows));
        all.insert(all.end(), some.begin(), some.end());
      }
      CHECK(all == every_step_of_every_document());
    }
  }
}

TEST_CASE("documents stand by themselves, in order, and go on in windows that share one token") {
  const test::TempDirectory folder;
  const EvalSet set(corpus_in(folder), ByteTokenizer(), 4);
  CHECK(set.num_documents() == 4);
  REQUIRE(set.num_windows() == 8);
  const TokenBatch batch = set.load(0, 3);
  CHECK(values<int64_t>(batch.inputs_BT) ==
        std::vector<int64_t>{256, 'a', 'b', 'c', 'd', 'e', 257, 257, 256, 257, 257, 257});
  CHECK(values<int64_t>(batch.targets_BT) ==
        std::vector<int64_t>{'a', 'b', 'c', 'd', 'e', 257, -100, -100, 257, -100, -100, -100});
  CHECK(values<bool>(batch.valid_BT) == std::vector<bool>{true, true, true, true, true, true, false,
                                                          false, true, false, false, false});
  CHECK(batch.sequence_numbers == std::vector<int64_t>{0, 1, 2});
}

TEST_CASE("rows are as long as the longest of their batch") {
  const test::TempDirectory folder;
  const EvalSet set(corpus_in(folder), ByteTokenizer(), 100);
  CHECK(set.load(0, 2).inputs_BT.size(1) == 6);
  CHECK(set.load(0, 4).inputs_BT.size(1) == 16);
}

TEST_CASE("ranges are clipped and an empty one gives zero rows") {
  const test::TempDirectory folder;
  const EvalSet set(corpus_in(folder), ByteTokenizer(), 4);
  CHECK(set.load(6, 100).inputs_BT.size(0) == 2);
  const TokenBatch none = set.load(100, 200);
  CHECK(none.inputs_BT.size(0) == 0);
  CHECK(none.inputs_BT.size(1) == 4);
  CHECK(none.sequence_numbers.empty());
}

TEST_CASE("text bytes count what the windows predict, without BOS and EOS") {
  const test::TempDirectory folder;
  const EvalSet set(corpus_in(folder), ByteTokenizer(), 4);
  const std::vector<int64_t> expected{0, 4, 5, 5, 9, 13, 17, 20, 23, 23};
  for (int64_t end = 0; end < 10; ++end) {
    CHECK(set.text_bytes(end) == expected[static_cast<size_t>(end)]);
  }
}

TEST_CASE("documents of a pair give a prediction less than they have tokens, of their own bytes") {
  const test::TempDirectory folder;
  const std::string prefix =
      test::write_pair(folder / "a", {{'a', 'b', 'c'}, {}, {'d'}, {256, 'e', 'f', 257}});
  const EvalSet set(prefix, ByteTokenizer(), 4);
  CHECK(set.num_documents() == 4);
  REQUIRE(set.num_windows() == 2);
  const TokenBatch batch = set.load(0, 2);
  CHECK(values<int64_t>(batch.inputs_BT) == std::vector<int64_t>{'a', 'b', 257, 256, 'e', 'f'});
  CHECK(values<int64_t>(batch.targets_BT) == std::vector<int64_t>{'b', 'c', -100, 'e', 'f', 257});
  CHECK(set.text_bytes(1) == 2);
  CHECK(set.text_bytes(2) == 4);
}

TEST_CASE("a pair that predicts nothing, or tokens of another vocabulary, is refused at once") {
  const test::TempDirectory folder;
  const auto complaint = [](const std::string& prefix) {
    return test::message_of<DataError>([&] { const EvalSet set(prefix, ByteTokenizer(), 4); });
  };
  CHECK(test::has(complaint(test::write_pair(folder / "a", {{1}, {2}, {}})),
                  "nothing to predict in its 3 documents of 2 tokens"));
  CHECK(test::has(complaint(test::write_pair(folder / "b", {{1, 2}, {3, 300}})),
                  "token 1 of document 1 (byte 6) is 300"));
}

TEST_CASE("a missing evaluation file is named") {
  const auto open = [] { EvalSet set("no/such.jsonl", ByteTokenizer(), 4); };
  CHECK(test::has(test::message_of<DataError>(open), "no/such.jsonl"));
}

}  // namespace
}  // namespace dsmoe::data
