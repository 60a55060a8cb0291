#include "data/corpus.h"

#include <string>
#include <vector>

#include "configs/errors.h"
#include "tests/data/files.h"
#include "tests/data/token_pair.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"

namespace dsmoe::data {
namespace {

std::vector<int64_t> tokens(const Corpus& corpus) {
  std::vector<int64_t> result(static_cast<size_t>(corpus.num_tokens()));
  corpus.copy(0, corpus.num_tokens(), result.data());
  return result;
}

TEST_CASE("a corpus holds each document between BOS and EOS, two bytes a token") {
  const test::TempDirectory folder;
  const std::string path =
      test::write_file(folder / "a.jsonl", "{\"text\": \"ab\"}\n{\"text\": \"\"}\n");
  const Corpus corpus = read_corpus(path, *make_tokenizer("byte"));
  CHECK(corpus.num_documents() == 2);
  CHECK(corpus.start(1) == 4);
  CHECK(corpus.length(1) == 2);
  CHECK(tokens(corpus) == std::vector<int64_t>{256, 97, 98, 257, 256, 257});
  CHECK(corpus.bytes_per_token() == 2);
}

TEST_CASE("a vocabulary beyond two bytes takes four bytes a token") {
  for (const int64_t vocab_size : {65536, 65537}) {
    Corpus corpus(vocab_size);
    corpus.append(1, {vocab_size - 1}, 2);
    CHECK(tokens(corpus) == std::vector<int64_t>{1, vocab_size - 1, 2});
    CHECK(corpus.bytes_per_token() == (vocab_size == 65536 ? 2 : 4));
  }
}

TEST_CASE("a pair is a corpus of its documents as they stand") {
  const test::TempDirectory folder;
  const std::string prefix = test::write_pair(folder / "a", {{97, 98}, {}, {256, 99, 257}});
  for (const char* ending : {"", ".bin", ".idx"}) {
    const Corpus corpus = read_corpus(prefix + ending, *make_tokenizer("byte"));
    CHECK(corpus.num_documents() == 3);
    CHECK(corpus.length(1) == 0);
    CHECK(corpus.start(2) == 2);
    CHECK(tokens(corpus) == std::vector<int64_t>{97, 98, 256, 99, 257});
  }
}

TEST_CASE("a pair's ids are checked against the tokenizer when they are read, not when opened") {
  const test::TempDirectory folder;
  const std::string prefix = test::write_pair(folder / "a", {{97, 98}, {259}});
  const Corpus corpus = read_corpus(prefix, *make_tokenizer("byte"));
  CHECK(test::has(test::message_of<DataError>([&] { tokens(corpus); }),
                  "token 0 of document 1 (byte 4) is 259, outside the vocabulary of 259"));
}

}  // namespace
}  // namespace dsmoe::data
