#include "data/loader.h"

#include <rapidcheck.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "configs/errors.h"
#include "data/corpus.h"
#include "tests/data/files.h"
#include "tests/data/token_pair.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"

namespace dsmoe::data {
namespace {

using Row = std::vector<int64_t>;

/// The T+1 tokens of each sequence, after checking that inputs and targets overlap.
std::vector<Row> rows_of(const TokenBatch& batch) {
  const int64_t length = batch.inputs_BT.size(1);
  std::vector<Row> rows;
  for (int64_t b = 0; b < batch.inputs_BT.size(0); ++b) {
    const int64_t* input = batch.inputs_BT.data_ptr<int64_t>() + b * length;
    const int64_t* target = batch.targets_BT.data_ptr<int64_t>() + b * length;
    REQUIRE(std::equal(input + 1, input + length, target));
    rows.emplace_back(input, input + length);
    rows.back().push_back(target[length - 1]);
  }
  return rows;
}

std::vector<Row> load(Loader& loader, int64_t begin, int64_t end) {
  const TokenBatch batch = loader.load({begin, end});
  Row numbers(static_cast<size_t>(end - begin));
  for (size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = begin + static_cast<int64_t>(i);
  }
  REQUIRE(batch.sequence_numbers == numbers);
  REQUIRE(!batch.valid_BT.defined());
  return rows_of(batch);
}

/// Two sources of different size, rows of 7, weights 3:1.
config::DataConfig two_sources(const test::TempDirectory& folder) {
  std::string letters;
  for (int i = 0; i < 40; ++i) {
    letters += "{\"text\": \"" + std::string(static_cast<size_t>(i % 17), char('a' + i % 26)) +
               std::to_string(i) + "\"}\n";
  }
  config::DataConfig config;
  config.sequence_length = 7;
  config.train = {{test::write_file(folder / "a.jsonl", letters), 3.0, "letters"},
                  {test::write_file(folder / "b.txt", "the quick brown fox jumps over"), 1.0, "b"}};
  return config;
}

TEST_CASE("sequences are those of the independent script, packed, shuffled and blended") {
  std::ifstream file(DSMOE_SOURCE_DIR "/tests/golden/order.json");
  const auto golden = nlohmann::json::parse(file);
  const test::TempDirectory folder;
  config::DataConfig config;
  config.sequence_length = golden["sequence_length"];
  for (size_t source = 0; source < golden["documents"].size(); ++source) {
    const std::string path = folder / std::to_string(source);
    std::filesystem::create_directory(path);
    int name = 0;
    for (const std::string hex : golden["documents"][source]) {
      std::string bytes;
      for (size_t i = 0; i < hex.size(); i += 2) {
        bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
      }
      test::write_file(path + "/" + std::to_string(name++), bytes);
    }
    config.train.push_back({path, golden["weights"][source], path});
  }
  Loader loader(config, golden["seed"]);
  const auto& expected = golden["sequences"];
  const std::vector<Row> rows = load(loader, 0, static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < rows.size(); ++i) {
    INFO("sequence " << i);
    CHECK(rows[i] == expected[i]["tokens"].get<Row>());
  }
}

TEST_CASE("a sequence depends on its number alone, in whatever order and ranges it is asked for") {
  const test::TempDirectory folder;
  const config::DataConfig config = two_sources(folder);
  Loader whole(config, 1);
  const std::vector<Row> all = load(whole, 0, 1000);
  Loader loader(config, 1);
  const bool ok = rc::check([&] {
    const auto begin = *rc::gen::inRange<int64_t>(0, 1000);
    const auto end = *rc::gen::inRange<int64_t>(begin, 1001);
    RC_ASSERT(load(loader, begin, end) == std::vector<Row>(all.begin() + begin, all.begin() + end));
  });
  CHECK(ok);
}

TEST_CASE("the ranges of two layouts join to the same global batch") {
  const test::TempDirectory folder;
  const config::DataConfig config = two_sources(folder);
  Loader one(config, 1);
  Loader rank_0(config, 1);
  Loader rank_1(config, 1);
  for (int64_t begin = 0; begin < 200; begin += 20) {
    std::vector<Row> joined = load(rank_0, begin, begin + 13);
    const std::vector<Row> rest = load(rank_1, begin + 13, begin + 20);
    joined.insert(joined.end(), rest.begin(), rest.end());
    CHECK(joined == load(one, begin, begin + 20));
  }
}

/// Documents of 8 distinct tokens each (six letters, BOS, EOS): `count` of them.
config::DataConfig one_source(const test::TempDirectory& folder, int64_t count, int64_t length) {
  std::string lines;
  for (int64_t i = 0; i < count; ++i) {
    lines += "{\"text\": \"" + std::to_string(100000 + i) + "\"}\n";
  }
  config::DataConfig config;
  config.sequence_length = length;
  config.train = {{test::write_file(folder / "a.jsonl", lines), 1.0, "a"}};
  return config;
}

TEST_CASE("under data.document_mask a piece begins at each BOS, which nothing predicts") {
  const test::TempDirectory folder;
  config::DataConfig config = two_sources(folder);
  Loader plain(config, 1);
  config.document_mask = true;
  Loader masked(config, 1);
  const auto [begin, end] =
      GENERATE(std::pair<int64_t, int64_t>{0, 90}, std::pair<int64_t, int64_t>{7, 7});
  const TokenBatch wanted = plain.load({begin, end});
  const TokenBatch batch = masked.load({begin, end});
  CHECK(wanted.document_starts.empty());
  CHECK(batch.inputs_BT.equal(wanted.inputs_BT));
  CHECK(
      batch.targets_BT.equal(wanted.targets_BT.masked_fill(wanted.targets_BT.eq(256), kNoTarget)));
  std::vector<int64_t> starts;
  const auto* inputs = wanted.inputs_BT.const_data_ptr<int64_t>();
  for (int64_t n = 0; n < wanted.inputs_BT.numel(); ++n) {
    if (n % config.sequence_length == 0 || inputs[n] == 256) starts.push_back(n);
  }
  CHECK(batch.document_starts == starts);
}

TEST_CASE("an epoch uses every token once, in documents kept whole across rows") {
  const test::TempDirectory folder;
  const int64_t documents = 63;
  const int64_t length = 503;  // (63 * 8 - 1) tokens have a predecessor: a single row
  Loader loader(one_source(folder, documents, length), 1);
  REQUIRE(loader.sequences_per_epoch() == 1);
  std::set<std::string> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    const Row row = load(loader, epoch, epoch + 1)[0];
    std::set<std::string> seen;
    for (int64_t i = 0; i < documents; ++i) {
      const auto first = row.begin() + i * 8;
      CHECK(*first == 256);
      CHECK(*(first + 7) == 257);
      seen.emplace(first + 1, first + 7);
    }
    CHECK(seen.size() == 63);
    orders.emplace(row.begin(), row.end());
  }
  CHECK(orders.size() == 3);
}

TEST_CASE("the rows of an epoch are the cuts of one stream, each once, in shuffled order") {
  const test::TempDirectory folder;
  const int64_t rows = 99;
  Loader loader(one_source(folder, 100, 8), 1);
  REQUIRE(loader.sequences_per_epoch() == rows);
  const std::vector<Row> epoch = load(loader, 0, rows);
  std::set<Row> distinct(epoch.begin(), epoch.end());
  CHECK(distinct.size() == 99);
  for (const Row& row : epoch) {
    CHECK(row.front() == 256);
    CHECK(row[7] == 257);
    CHECK(row.back() == 256);
  }
  CHECK(load(loader, 99, 198) != epoch);
}

TEST_CASE("another seed gives another order") {
  const test::TempDirectory folder;
  const config::DataConfig config = one_source(folder, 50, 8);
  Loader one(config, 1);
  Loader two(config, 2);
  CHECK(load(one, 0, 40) != load(two, 0, 40));
}

TEST_CASE("a document longer than a row goes on in the next one") {
  const test::TempDirectory folder;
  std::string text;
  for (int i = 0; i < 250; ++i) {
    text.push_back(static_cast<char>(i + 1));
  }
  config::DataConfig config;
  config.sequence_length = 16;
  config.train = {{test::write_file(folder / "a.txt", text), 1.0, "a"}};
  Loader loader(config, 1);
  REQUIRE(loader.sequences_per_epoch() == 15);
  std::map<int64_t, Row> by_first;
  for (const Row& row : load(loader, 0, 15)) {
    by_first[row.front() % 256] = row;
  }
  REQUIRE(by_first.size() == 15);
  int64_t expected = 0;
  for (const auto& [first, row] : by_first) {
    CHECK(first == expected);
    CHECK(row.back() == first + 16);
    expected += 16;
  }
}

TEST_CASE("an empty range gives zero rows of the sequence length") {
  const test::TempDirectory folder;
  Loader loader(two_sources(folder), 1);
  const TokenBatch batch = loader.load({5, 5});
  CHECK(batch.inputs_BT.size(0) == 0);
  CHECK(batch.inputs_BT.size(1) == 7);
  CHECK(batch.sequence_numbers.empty());
}

TEST_CASE("reading ahead changes no batch, whether the guess is right or wrong") {
  const test::TempDirectory folder;
  const config::DataConfig config = two_sources(folder);
  Loader plain(config, 1);
  Loader ahead(config, 1);
  for (int64_t begin = 0; begin < 100; begin += 10) {
    ahead.prefetch({begin, begin + (begin % 20 == 0 ? 10 : 4)});
    CHECK(load(ahead, begin, begin + 10) == load(plain, begin, begin + 10));
  }
  ahead.prefetch({0, 1000});
}

TEST_CASE("what fails while reading ahead is thrown by load") {
  const test::TempDirectory folder;
  Loader loader(two_sources(folder), 1);
  loader.prefetch({5, 2});
  CHECK_THROWS_WITH(loader.load({5, 2}), Catch::Matchers::Contains("is no range"));
  CHECK(load(loader, 0, 3).size() == 3);
}

TEST_CASE("a corpus shorter than one sequence is refused with both numbers") {
  const test::TempDirectory folder;
  config::DataConfig config = two_sources(folder);
  config.sequence_length = 32;
  const std::string message = test::message_of<DataError>([&] { const Loader loader(config, 1); });
  INFO(message);
  CHECK(test::has(message, folder / "b.txt"));
  CHECK(test::has(message, "32 tokens"));
  CHECK(test::has(message, "data.sequence_length 32 + 1"));
  CHECK(test::has(message, "at most 31"));
  config.sequence_length = 31;
  CHECK(Loader(config, 1).sequences_per_epoch() > 1);
}

TEST_CASE("the fingerprint changes with content, cuts, names and weights, not with the place") {
  const test::TempDirectory folder;
  const config::DataConfig config = two_sources(folder);
  const auto print = [](const config::DataConfig& data) { return Loader(data, 1).fingerprint(); };
  const std::string original = print(config);
  CHECK(original.size() == 32);

  config::DataConfig moved = config;
  moved.train[1].path = folder / "c.txt";
  std::filesystem::copy_file(config.train[1].path, moved.train[1].path);
  CHECK(print(moved) == original);

  config::DataConfig renamed = config;
  renamed.train[0].name = "other";
  CHECK(print(renamed) != original);

  config::DataConfig reweighted = config;
  reweighted.train[0].weight = 2.0;
  CHECK(print(reweighted) != original);

  test::write_file(config.train[1].path, "the quick brown fox jumps Over");
  CHECK(print(config) != original);
}

/// The documents of a source as read_corpus() cuts them, as a pair.
std::string as_pair(const std::string& path, const std::string& prefix) {
  const Corpus corpus = read_corpus(path, *make_tokenizer("byte"));
  std::vector<Row> documents;
  for (int64_t i = 0; i < corpus.num_documents(); ++i) {
    documents.emplace_back(static_cast<size_t>(corpus.length(i)));
    corpus.copy(corpus.start(i), corpus.length(i), documents.back().data());
  }
  return test::write_pair(prefix, documents);
}

TEST_CASE("documents of a pair are packed, shuffled and blended as those of a text") {
  const test::TempDirectory folder;
  const config::DataConfig texts = two_sources(folder);
  config::DataConfig pairs = texts;
  pairs.train[0].path = as_pair(texts.train[0].path, folder / "pair_a");
  pairs.train[1].path = as_pair(texts.train[1].path, folder / "pair_b") + ".bin";
  Loader from_texts(texts, 1);
  Loader from_pairs(pairs, 1);
  CHECK(from_pairs.sequences_per_epoch() == from_texts.sequences_per_epoch());
  CHECK(load(from_pairs, 0, 500) == load(from_texts, 0, 500));
  CHECK(Loader(pairs, 1).fingerprint() == from_pairs.fingerprint());
  test::write_file(folder / "pair_a.bin",
                   test::patched(test::read_file(folder / "pair_a.bin"), 2, uint16_t{7}));
  CHECK(Loader(pairs, 1).fingerprint() != from_pairs.fingerprint());
}

TEST_CASE("empty documents of a pair take no place in a row") {
  const test::TempDirectory folder;
  config::DataConfig config;
  config.sequence_length = 3;
  config.train = {{test::write_pair(folder / "a", {{}, {1, 2}, {}, {}, {3, 4}, {}}), 1.0, "a"}};
  Loader loader(config, 1);
  REQUIRE(loader.sequences_per_epoch() == 1);
  for (Row row : load(loader, 0, 20)) {
    CHECK((row == Row{1, 2, 3, 4} || row == Row{3, 4, 1, 2}));
  }
}

TEST_CASE("a token of a pair outside the vocabulary is an error of the sequence that holds it") {
  const test::TempDirectory folder;
  config::DataConfig config;
  config.sequence_length = 2;
  config.train = {{test::write_pair(folder / "a", {{1, 2, 3, 4, 5, 6, 999}}), 1.0, "a"}};
  Loader loader(config, 1);
  REQUIRE(loader.sequences_per_epoch() == 3);
  int refused = 0;
  for (int64_t i = 0; i < 3; ++i) {
    loader.prefetch({i, i + 1});
    const auto message = test::message_of<DataError>([&] { load(loader, i, i + 1); });
    if (test::has(message, "token 6 of document 0 (byte 12) is 999")) ++refused;
  }
  CHECK(refused == 1);
}

TEST_CASE("a loader without sources or with rows of no length names the key") {
  config::DataConfig config;
  const auto open = [&] { const Loader loader(config, 1); };
  CHECK(test::has(test::message_of<ConfigError>(open), "data.train names no source"));
  config.train = {{"x", 1.0, "x"}};
  config.sequence_length = 0;
  CHECK(test::has(test::message_of<ConfigError>(open), "data.sequence_length (0)"));
}

}  // namespace
}  // namespace dsmoe::data
