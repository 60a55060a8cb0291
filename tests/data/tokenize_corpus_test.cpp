#include "data/tokenize_corpus.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "configs/errors.h"
#include "data/byte_tokenizer.h"
#include "data/corpus.h"
#include "tests/data/token_pair.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"

namespace dsmoe::data {
namespace {

namespace fs = std::filesystem;
using test::has;

/// The byte tokenizer, every third text slow. Counts the texts that are encoded at once, and holds
/// each until that were `expected`, or nobody came for long.
class OddTokenizer final : public Tokenizer {
 public:
  explicit OddTokenizer(int64_t vocab_size = ByteTokenizer::kVocabSize, int expected = 1)
      : vocab_size_(vocab_size), expected_(expected) {}
  [[nodiscard]] std::vector<int64_t> encode(std::string_view text) const override {
    if (text.starts_with("poison")) throw std::runtime_error("cannot encode");
    std::unique_lock lock(mutex_);
    most_ = std::max(most_, ++running_);
    came_.notify_all();
    came_.wait_for(lock, std::chrono::seconds(20), [this] { return most_ >= expected_; });
    const bool slow = calls_++ % 3 == 0;
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::milliseconds(slow ? 30 : 1));
    lock.lock();
    --running_;
    return bytes_.encode(text);
  }
  [[nodiscard]] std::string decode(const std::vector<int64_t>& ids) const override {
    return bytes_.decode(ids);
  }
  [[nodiscard]] int64_t vocab_size() const override { return vocab_size_; }
  [[nodiscard]] int64_t bos() const override { return vocab_size_ - 2; }
  [[nodiscard]] int64_t eos() const override { return vocab_size_ - 1; }
  [[nodiscard]] std::string to_json() const override { return ""; }
  [[nodiscard]] std::string config_json() const override { return ""; }
  [[nodiscard]] int most_at_once() const { return most_; }

 private:
  ByteTokenizer bytes_;
  int64_t vocab_size_;
  int expected_;
  mutable std::mutex mutex_;  // over the numbers below
  mutable std::condition_variable came_;
  mutable int calls_ = 0;
  mutable int running_ = 0;
  mutable int most_ = 0;
};

/// 24 documents of some 400,000 bytes, each of its own letter, and empty ones between: chunks of
/// two or three.
std::string large_corpus(const test::TempDirectory& folder) {
  std::string lines;
  for (size_t i = 0; i < 24; ++i) {
    lines += "{\"text\": \"" + std::string(400000 + i, static_cast<char>('a' + i)) + "\"}\n";
    if (i % 5 == 0) lines += "{\"text\": \"\"}\n\n";
  }
  return test::write_file(folder / "large.jsonl", lines);
}

TokenizeResult tokenize(const std::string& input, const std::string& output,
                        const Tokenizer& tokenizer = ByteTokenizer(), int64_t workers = 1,
                        const TokenizeWatcher& watcher = {}) {
  return tokenize_corpus({input, output, workers, /*overwrite=*/false}, tokenizer, watcher);
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void check_same(const Corpus& a, const Corpus& b) {
  REQUIRE(a.num_documents() == b.num_documents());
  REQUIRE(a.num_tokens() == b.num_tokens());
  std::vector<int64_t> left;
  std::vector<int64_t> right;
  for (int64_t i = 0; i < a.num_documents(); ++i) {
    REQUIRE(a.start(i) == b.start(i));
    left.resize(static_cast<size_t>(a.length(i)));
    right.resize(left.size());
    a.copy(a.start(i), a.length(i), left.data());
    b.copy(b.start(i), b.length(i), right.data());
    CHECK(left == right);
  }
}

TEST_CASE("a tokenised corpus has the documents that its texts have, in order") {
  const test::TempDirectory folder;
  const std::string input = large_corpus(folder);
  const auto result = tokenize(input, folder / "out", OddTokenizer(), 3);
  check_same(read_corpus(folder / "out", ByteTokenizer()), [&] {
    Corpus expected(259);
    for (int64_t i = 0; i < 24; ++i) {
      const std::vector<int64_t> ids(static_cast<size_t>(400000 + i), 'a' + i);
      expected.append(257, ids, 258);
      if (i % 5 == 0) expected.append(257, {}, 258);
    }
    return expected;
  }());
  CHECK(result.total.documents == 29);
  CHECK(result.total.text_bytes == 24 * 400000 + 276);
  CHECK(result.total.tokens == result.total.text_bytes + 2 * 29);
  CHECK(result.bin == folder / "out.bin");
  CHECK(result.idx == folder / "out.idx");
}

TEST_CASE("the files are the same for any number of workers, which work at once") {
  const test::TempDirectory folder;
  const std::string input = large_corpus(folder);
  const OddTokenizer alone;
  static_cast<void>(tokenize(input, folder / "1", alone, 1));
  CHECK(alone.most_at_once() == 1);
  for (const int64_t workers : {2, 3, 8, 40}) {
    const OddTokenizer tokenizer(ByteTokenizer::kVocabSize, /*expected=*/2);
    const std::string output = folder / std::to_string(workers);
    static_cast<void>(tokenize(input, output, tokenizer, workers));
    CHECK(test::read_file(output + ".bin") == test::read_file(folder / "1.bin"));
    CHECK(test::read_file(output + ".idx") == test::read_file(folder / "1.idx"));
    CHECK(tokenizer.most_at_once() >= 2);
    CHECK(tokenizer.most_at_once() <= workers);
  }
}

TEST_CASE("no more text waits than allowed, but for a document that is longer") {
  const test::TempDirectory folder;
  const std::string input = large_corpus(folder);
  TokenizeOptions options{input, folder / "out", /*workers=*/8};
  options.overwrite = true;
  const auto most_at_once = [&](int64_t waiting_bytes, int expected) {
    const OddTokenizer tokenizer(ByteTokenizer::kVocabSize, expected);
    options.waiting_bytes = waiting_bytes;
    CHECK(tokenize_corpus(options, tokenizer, {}).total.documents == 29);
    return tokenizer.most_at_once();
  };
  CHECK(most_at_once(1000, 1) == 1);
  CHECK(most_at_once(int64_t{2} << 20, 2) == 2);
  CHECK(most_at_once(int64_t{100} << 20, 3) > 2);
}

TEST_CASE("texts and directories are tokenised as they are read") {
  const test::TempDirectory folder;
  fs::create_directory(folder / "texts");
  test::write_file(folder / "texts/b.txt", "\xff\xfe not UTF-8");
  test::write_file(folder / "texts/a.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
  for (const char* input : {"texts", "texts/b.txt"}) {
    const std::string output = folder / "out" + std::to_string(std::string(input).size());
    static_cast<void>(tokenize(folder / input, output));
    check_same(read_corpus(output, ByteTokenizer()), read_corpus(folder / input, ByteTokenizer()));
  }
}

TEST_CASE("a vocabulary of 65,500 or more is written in four bytes") {
  const test::TempDirectory folder;
  const std::string input = test::write_file(folder / "a.txt", "abc");
  const auto small = tokenize(input, folder / "small", OddTokenizer(65499));
  CHECK(small.type == TokenType::kU16);
  CHECK(fs::file_size(small.bin) == 10);
  const auto large = tokenize(input, folder / "large", OddTokenizer(102400));
  CHECK(large.type == TokenType::kI32);
  CHECK(fs::file_size(large.bin) == 20);
}

TEST_CASE("the watcher sees all of the input pass, and files only when they are whole") {
  const test::TempDirectory folder;
  const std::string input = large_corpus(folder);
  TokenizeProgress last;
  int calls = 0;
  const auto result =
      tokenize(input, folder / "out", ByteTokenizer(), 2, [&](const TokenizeProgress& progress) {
        ++calls;
        CHECK(progress.bytes_read > last.bytes_read);
        CHECK(progress.documents > last.documents);
        CHECK(!fs::exists(folder / "out.bin"));
        CHECK(!fs::exists(folder / "out.idx"));
        last = progress;
      });
  CHECK(calls >= 8);
  CHECK(last.bytes_to_read == static_cast<int64_t>(fs::file_size(input)));
  CHECK(last.bytes_read == last.bytes_to_read - 5);  // the blank lines
  CHECK(last.tokens == result.total.tokens);
}

TEST_CASE("nothing is left of a corpus that ends in an error, in a worker or when stopped") {
  const test::TempDirectory folder;
  const std::string large = large_corpus(folder);
  fs::create_directory(folder / "out");
  const std::string output = folder / "out/a";
  const std::string broken =
      test::write_file(folder / "broken.jsonl", test::read_file(large) + "{\"text\": 3}\n");
  const std::string poison = test::write_file(folder / "poison.jsonl",
                                              test::read_file(large) + "{\"text\": \"poison\"}\n");
  const auto stop = [](const TokenizeProgress&) { throw std::logic_error("stopped"); };

  CHECK(has(test::message_of<DataError>([&] { tokenize(broken, output); }), "broken.jsonl:35: "));
  CHECK_THROWS_AS(tokenize(poison, output, OddTokenizer(), 3), std::runtime_error);
  CHECK_THROWS_AS(tokenize(large, output, OddTokenizer(), 3, stop), std::logic_error);
  CHECK_THROWS_AS(tokenize(folder / "none.jsonl", output), DataError);
  CHECK_THROWS_AS(tokenize(test::write_file(folder / "empty.txt", ""), output), DataError);
  CHECK(names_in(folder / "out").empty());
}

TEST_CASE("existing output is kept unless it is to be replaced") {
  const test::TempDirectory folder;
  const std::string input = test::write_file(folder / "a.txt", "abc");
  test::write_file(folder / "out.idx", "mine");
  const auto again = [&] { static_cast<void>(tokenize(input, folder / "out")); };
  CHECK(has(test::message_of<DataError>(again), "out.idx exists already"));
  CHECK(test::read_file(folder / "out.idx") == "mine");
  const auto result = tokenize_corpus({input, folder / "out", 1, /*overwrite=*/true},
                                      ByteTokenizer(), TokenizeWatcher());
  CHECK(result.total.tokens == 5);
  CHECK(names_in(folder.path()) == std::vector<std::string>{"a.txt", "out.bin", "out.idx"});
}

TEST_CASE("tokens are not tokenised again, nor written among the texts they come from") {
  const test::TempDirectory folder;
  const std::string prefix = test::write_pair(folder / "a", {{1}});
  for (const char* ending : {"", ".bin", ".idx"}) {
    const auto again = [&] { static_cast<void>(tokenize(prefix + ending, folder / "b")); };
    CHECK(has(test::message_of<DataError>(again), "tokens already"));
  }
  const auto inside = [&] { static_cast<void>(tokenize(folder.path(), folder / "b")); };
  CHECK(has(test::message_of<DataError>(inside), "b.bin would lie in the input directory"));
}

TEST_CASE("an output that is not named stands beside the input") {
  const test::TempDirectory folder;
  CHECK(default_output("corpus/a.jsonl") == "corpus/a");
  CHECK(default_output("a.b.txt") == "a.b");
  CHECK(default_output("corpus/bare") == "corpus/bare.tokens");
  fs::create_directory(folder / "texts.d");
  CHECK(default_output(folder / "texts.d") == folder / "texts.d.tokens");
  CHECK(default_output(folder / "texts.d/") == folder / "texts.d.tokens");
}

}  // namespace
}  // namespace dsmoe::data
