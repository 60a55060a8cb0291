#include "data/sample_set.h"

#include <nlohmann/json.hpp>
#include <set>

#include "configs/errors.h"
#include "data/byte_tokenizer.h"
#include "data/chat_template.h"
#include "tests/data/files.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"

namespace dsmoe::data {
namespace {

const ByteTokenizer kBytes;

config::DataConfig whole(int64_t length) {
  config::DataConfig config;
  config.packing = config::Packing::kWhole;
  config.document_mask = true;
  config.sequence_length = length;
  return config;
}

std::string turn(const std::string& question, const std::string& answer) {
  return R"({"messages": [{"role": "user", "content": ")" + question +
         R"("}, {"role": "assistant", "content": ")" + answer + "\"}]}\n";
}

std::string rejection(const std::string& path, const config::DataConfig& config) {
  return test::message_of<DataError>([&] { (void)read_samples({path, 1.0, "a"}, config, kBytes); });
}

/// Sample i's tokens, learned ones in brackets; B and E for BOS and EOS.
std::string shown(const SampleSet& set, int64_t i) {
  const int64_t length = set.corpus.length(i);
  std::vector<int64_t> ids(static_cast<size_t>(length));
  std::vector<float> weights(ids.size());
  set.corpus.copy(set.corpus.start(i), length, ids.data());
  set.weights.copy(set.corpus.start(i), length, weights.data());
  std::string text;
  bool learning = false;
  for (size_t t = 0; t < ids.size(); ++t) {
    if ((weights[t] > 0) != learning) text += learning ? "]" : "[";
    learning = weights[t] > 0;
    text += ids[t] == ByteTokenizer::kBos   ? std::string("B")
            : ids[t] == ByteTokenizer::kEos ? std::string("E")
                                            : kBytes.decode({ids[t]});
  }
  return text + (learning ? "]" : "");
}

TEST_CASE("answers and their ends are learned, in every turn, and nothing else") {
  const test::TempDirectory folder;
  const std::string path = test::write_file(
      folder / "a.jsonl",
      R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "a"},
          {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},
          {"role": "assistant", "content": "d", "weight": 0}, {"role": "user", "content": "e"},
          {"role": "assistant", "content": "f"}, {"role": "user", "content": "left out"}]})"
      "\n");
  // One object over several lines is no JSONL; a .json list may be.
  CHECK(test::has(rejection(path, whole(200)), "a.jsonl:1: not valid JSON"));
  std::string list = "[";
  {
    std::ifstream file(path);
    list.append(std::istreambuf_iterator<char>(file), {});
  }
  const std::string json = test::write_file(folder / "a.json", list + "]");
  const auto read = read_samples({json, 1.0, "a"}, whole(200), kBytes);
  REQUIRE(read.train.corpus.num_documents() == 1);
  CHECK(shown(read.train, 0) ==
        "BS\n\nUser: a\n\nAssistant:[ bE]User: c\n\nAssistant: dEUser: e\n\nAssistant:[ fE]");
  CHECK(read.report.trained.targets == 6);
}

TEST_CASE("a sample longer than a row stops, is cut, or is left out, and is counted") {
  const test::TempDirectory folder;
  const std::string longer(40, 'x');
  const std::string path = test::write_file(
      folder / "a.jsonl", turn("q", "short") + turn("q", longer) + turn(longer, "unseen"));
  config::DataConfig config = whole(40);
  const std::string message = rejection(path, config);
  CHECK(test::has(message, "a.jsonl:2: longer than a row: 2 samples"));
  CHECK(test::has(message, "up to 66 positions, data.sequence_length is 40"));

  config.overlong = config::Overlong::kDrop;
  const auto dropped = read_samples({path, 1.0, "a"}, config, kBytes).report;
  CHECK(dropped.trained.samples == 1);
  CHECK(dropped.dropped.at("longer than a row (data.overlong)").samples == 2);

  config.overlong = config::Overlong::kCut;
  const auto cut = read_samples({path, 1.0, "a"}, config, kBytes);
  CHECK(cut.report.trained.samples == 2);
  CHECK(cut.report.cut.samples == 2);
  CHECK(cut.report.dropped.at("no target left").samples == 1);
  CHECK(cut.train.corpus.length(1) == 41);
}

TEST_CASE("rows that are no conversation stop, or are counted as skipped") {
  const test::TempDirectory folder;
  const std::string path =
      test::write_file(folder / "a.jsonl", turn("q", "a") + "{oops\n" + "{\"messages\": []}\n");
  config::DataConfig config = whole(100);
  CHECK(test::has(rejection(path, config), "a.jsonl:2: not valid JSON"));
  config.bad_rows = config::BadRows::kSkip;
  const auto report = read_samples({path, 1.0, "a"}, config, kBytes).report;
  CHECK(report.trained.samples == 1);
  CHECK(report.dropped.at("no conversation (data.bad_rows)").samples == 2);
}

TEST_CASE("a source without anything to learn is an error, not an empty run") {
  const test::TempDirectory folder;
  config::DataConfig config = whole(100);
  config.bad_rows = config::BadRows::kSkip;
  const std::string path = test::write_file(folder / "a.jsonl", "{}\n{}\n");
  const std::string message = rejection(path, config);
  CHECK(test::has(message, "0 target tokens"));
  CHECK(test::has(message, "2 left out: no conversation"));
}

TEST_CASE("what is held out depends on the sample alone, and equal ones stay together") {
  const test::TempDirectory folder;
  std::string lines;
  for (int i = 0; i < 1000; ++i) lines += turn("q" + std::to_string(i % 500), "a");
  config::DataConfig config = whole(100);
  config.held_out = 0.2;
  const std::string path = test::write_file(folder / "a.jsonl", lines);
  const auto read = read_samples({path, 1.0, "a"}, config, kBytes);
  const int64_t held = read.held_out.corpus.num_documents();
  CHECK(held + read.train.corpus.num_documents() == 1000);
  CHECK(held % 2 == 0);
  CHECK(std::abs(held - 200) < 60);
  std::set<std::string> trained;
  for (int64_t i = 0; i < read.train.corpus.num_documents(); ++i) {
    trained.insert(shown(read.train, i));
  }
  for (int64_t i = 0; i < held; ++i) CHECK(trained.count(shown(read.held_out, i)) == 0);
}

TEST_CASE("a folder's files are read by name, a text among them as one document") {
  const test::TempDirectory folder;
  test::write_file(folder / "b.txt", "plain");
  test::write_file(folder / "a.jsonl", turn("q", "a"));
  const auto read = read_samples({folder / "", 1.0, "a"}, whole(100), kBytes);
  REQUIRE(read.train.corpus.num_documents() == 2);
  CHECK(shown(read.train, 0) == "BUser: q\n\nAssistant:[ aE]");
  CHECK(shown(read.train, 1) == "B[plainE]");
  CHECK(holds_conversations(folder / "a.jsonl"));
  CHECK_FALSE(holds_conversations(folder / "b.txt"));
}

/// The bytes, beside a chat template.
struct Templated final : Tokenizer {
  explicit Templated(std::string text) : text_(std::move(text)) {}
  [[nodiscard]] std::vector<int64_t> encode(std::string_view text) const override {
    return kBytes.encode(text);
  }
  [[nodiscard]] std::string decode(const std::vector<int64_t>& ids) const override {
    return kBytes.decode(ids);
  }
  [[nodiscard]] int64_t vocab_size() const override { return kBytes.vocab_size(); }
  [[nodiscard]] int64_t bos() const override { return kBytes.bos(); }
  [[nodiscard]] int64_t eos() const override { return kBytes.eos(); }
  [[nodiscard]] std::string to_json() const override { return kBytes.to_json(); }
  [[nodiscard]] std::string config_json() const override {
    return nlohmann::json{{"chat_template", text_}}.dump();
  }

 private:
  std::string text_;
};

TEST_CASE("a chat template that is not DeepSeek-V2's is not guessed at") {
  const test::TempDirectory folder;
  const std::string talk = test::write_file(folder / "a.jsonl", turn("q", "a"));
  const std::string text = test::write_file(folder / "b.jsonl", "{\"text\": \"abc\"}\n");
  config::DataConfig config = whole(100);
  const Templated own("{{ messages }}"), deepseek(chat_template_text());
  const std::string message =
      test::message_of<ConfigError>([&] { (void)read_samples({talk, 1.0, "a"}, config, own); });
  CHECK(test::has(message, "is not DeepSeek-V2's"));
  CHECK(test::has(message, "hint: scripts/render-chat"));
  CHECK(read_samples({text, 1.0, "a"}, config, own).report.trained.samples == 1);
  CHECK(read_samples({talk, 1.0, "a"}, config, deepseek).report.trained.samples == 1);
  config.chat_template = config::ChatTemplate::kDeepseekV2;
  CHECK(read_samples({talk, 1.0, "a"}, config, own).report.trained.samples == 1);
}

}  // namespace
}  // namespace dsmoe::data
