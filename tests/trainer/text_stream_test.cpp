#include "trainer/text_stream.h"

#include "data/byte_tokenizer.h"
#include "tests/support/catch.h"

namespace dsmoe::train {
namespace {

const data::ByteTokenizer kBytes;

/// What each byte of `text` brings, with a bar after each, and the end.
std::string shown(const std::string& text, std::vector<std::string> stops) {
  TextStream stream(kBytes, std::move(stops));
  std::string all;
  for (const int64_t id : kBytes.encode(text)) all += stream.push(id) + "|";
  return all + stream.finish();
}

TEST_CASE("text without stop strings shows at once") { CHECK(shown("abc", {}) == "a|b|c|"); }

TEST_CASE("characters show when they are whole") { CHECK(shown("aé!", {}) == "a||é|!|"); }

TEST_CASE("what may begin a stop string waits until it is clear") {
  CHECK(shown("aXYb", {"XYZ"}) == "a|||XYb|");
  CHECK(shown("aXXYZb", {"XYZ"}) == "a||X||||");
  CHECK(shown("aXY", {"XYZ"}) == "a|||XY");
}

TEST_CASE("the first of several stop strings ends the text") {
  TextStream stream(kBytes, {"end", "n"});
  for (const int64_t id : kBytes.encode("the end")) (void)stream.push(id);
  CHECK(stream.stopped());
  CHECK(stream.text() == "the e");
}

}  // namespace
}  // namespace dsmoe::train
