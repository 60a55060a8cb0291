#include "data/corpus.h"

#include <string>
#include <vector>

#include "tests/data/files.h"
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
  CHECK(corpus.token_bytes().size() == 12);
}

TEST_CASE("a vocabulary beyond two bytes takes four bytes a token") {
  for (const int64_t vocab_size : {65536, 65537}) {
    Corpus corpus(vocab_size);
    corpus.append(1, {vocab_size - 1}, 2);
    CHECK(tokens(corpus) == std::vector<int64_t>{1, vocab_size - 1, 2});
    CHECK(corpus.token_bytes().size() == (vocab_size == 65536 ? 6U : 12U));
  }
}

}  // namespace
}  // namespace dsmoe::data
