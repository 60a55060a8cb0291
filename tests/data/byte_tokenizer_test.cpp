#include "data/byte_tokenizer.h"

#include <numeric>
#include <string>
#include <vector>

#include "configs/errors.h"
#include "tests/data/files.h"
#include "tests/support/catch.h"
#include "tests/support/python.h"
#include "tests/support/temp_directory.h"

namespace dsmoe::data {
namespace {

TEST_CASE("the byte tokenizer gives every byte its own value and gives it back") {
  const ByteTokenizer tokenizer;
  std::vector<int64_t> ids(256);
  std::iota(ids.begin(), ids.end(), 0);
  CHECK(tokenizer.encode(tokenizer.decode(ids)) == ids);
  CHECK(tokenizer.encode("A\xff") == std::vector<int64_t>{65, 255});
}

TEST_CASE("decoding leaves out special and unknown ids") {
  const ByteTokenizer tokenizer;
  CHECK(tokenizer.decode({256, 72, 258, 105, 257, 300, -1}) == "Hi");
}

TEST_CASE("make_tokenizer knows byte and names the key for any other") {
  const auto tokenizer = make_tokenizer("byte");
  CHECK(tokenizer->vocab_size() == 259);
  CHECK(tokenizer->bos() == 256);
  CHECK(tokenizer->eos() == 257);
  const std::string message = test::message_of<ConfigError>([] { (void)make_tokenizer("bite"); });
  CHECK(test::has(message, "data.tokenizer (bite)"));
  CHECK(test::has(message, "\nhint: "));
}

TEST_CASE("transformers reads tokenizer.json and encodes any text to the same ids") {
  if (test::skip_without_python()) return;
  const test::TempDirectory folder;
  const ByteTokenizer tokenizer;
  test::write_file(folder / "tokenizer.json", tokenizer.to_json());
  test::write_file(folder / "tokenizer_config.json", tokenizer.config_json());
  const auto result = test::run_python("data/byte_tokenizer_check.py", folder.path());
  INFO(result.output);
  CHECK(result.exit_code == 0);
  CHECK(test::has(result.output, "same ids"));
}

}  // namespace
}  // namespace dsmoe::data
