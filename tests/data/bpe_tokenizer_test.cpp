#include "data/bpe_tokenizer.h"

#include <string>
#include <thread>
#include <vector>

#include "configs/errors.h"
#include "data/byte_tokenizer.h"
#include "data/corpus.h"
#include "data/stream_decoder.h"
#include "tests/data/files.h"
#include "tests/data/tokenizer_json_text.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"

namespace dsmoe::data {
namespace {

using test::bpe;
using test::Json;
using test::tokenizer_json;
using Ids = std::vector<int64_t>;

const std::vector<std::pair<std::string, std::string>> kMerges = {
    {"a", "b"}, {"b", "c"}, {"ab", "c"}, {"\u0120", "ab"}, {"\u00c3", "\u00a9"}};
constexpr int64_t kAb = 256;
constexpr int64_t kAbc = 258;
constexpr int64_t kSpaceAb = 259;
constexpr int64_t kBos = 261;
constexpr int64_t kEos = 262;

/// What each token decodes to, with | between.
std::string merged(const BpeTokenizer& tokenizer, const std::string& text) {
  std::string joined;
  for (const int64_t id : tokenizer.encode(text)) {
    joined += (joined.empty() ? "" : "|") + tokenizer.decode({id});
  }
  return joined;
}

std::string error_of(const Json& json, std::optional<std::string> config = std::nullopt) {
  return test::message_of<DataError>([&] { bpe(json, config); });
}

void check_error(const Json& json, const std::vector<std::string>& parts) {
  const std::string message = error_of(json);
  INFO("message: " << message);
  CHECK(test::has(message, "tok/tokenizer.json"));
  CHECK(test::has(message, "\nhint: "));
  for (const std::string& part : parts) {
    INFO("wanted: " << part);
    CHECK(test::has(message, part));
  }
}

TEST_CASE("the pair of lowest rank merges first, the leftmost of equals") {
  const BpeTokenizer tokenizer = bpe(tokenizer_json(kMerges));
  CHECK(tokenizer.encode("abc") == Ids{kAbc});
  CHECK(tokenizer.encode("bcab") == Ids{257, kAb});
  CHECK(tokenizer.encode("c ab") == Ids{'c', kSpaceAb});
  CHECK(tokenizer.encode("").empty());
  const BpeTokenizer doubles = bpe(tokenizer_json({{"a", "a"}}));
  CHECK(doubles.encode("aaa") == Ids{256, 'a'});
}

TEST_CASE("merges may be pairs instead of strings, and of one pair given twice the last counts") {
  Json json = tokenizer_json({{"a", "b"}, {"b", "c"}});
  json["model"]["merges"] = Json::parse(R"([["a", "b"], ["b", "c"], ["a", "b"]])");
  CHECK(bpe(json).encode("abc") == Ids{'a', 257});
}

TEST_CASE("a word beyond what the short way handles merges as a short one does") {
  const BpeTokenizer tokenizer = bpe(tokenizer_json(kMerges));
  for (const size_t count : {16U, 17U, 200U}) {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += "abc";
    CHECK(tokenizer.encode(text) == Ids(count, kAbc));
  }
  const BpeTokenizer doubles = bpe(tokenizer_json({{"a", "a"}, {"aa", "aa"}}));
  CHECK(doubles.encode(std::string(100'001, 'a')).size() == 25'001);
}

TEST_CASE("ignore_merges takes a whole word that is a token whatever the merges say") {
  Json json = tokenizer_json();
  json["added_tokens"][0]["id"] = 257;
  json["added_tokens"][1]["id"] = 258;
  json["model"]["vocab"]["xyz"] = 256;
  CHECK(bpe(json).encode("xyz") == Ids{'x', 'y', 'z'});
  json["model"]["ignore_merges"] = true;
  CHECK(bpe(json).encode("xyz") == Ids{256});
  CHECK(bpe(json).encode("xyzx") == Ids{'x', 'y', 'z', 'x'});
}

TEST_CASE("DeepSeek's stages cut accented letters, digits and blanks as the reference does") {
  // Pairs that would merge if a cut between them were missing, and pairs that show there is none.
  const BpeTokenizer tokenizer = bpe(tokenizer_json({{"f", "\u00c3"},
                                                     {"\u00c3", "\u00a9"},
                                                     {"3", "."},
                                                     {"1", "4"},
                                                     {"=", "3"},
                                                     {"\u0120", "5"},
                                                     {"\u0120", "\u0120"},
                                                     {"\u0120", "b"},
                                                     {"\u010a", "\u010a"},
                                                     {"\u0120", "\u010a"}}));
  CHECK(merged(tokenizer, "x=3.14;") == "x|=|3|.|1|4|;");
  CHECK(merged(tokenizer, "f\u00e9") == "f|\u00e9");
  CHECK(merged(tokenizer, "a   b  ") == "a|  | b|  ");
  CHECK(merged(tokenizer, "b 5 \n\n") == "b| |5| |\n|\n");
}

TEST_CASE("GPT-2's expression keeps a contraction and a blank with its word") {
  Json json = tokenizer_json({{"'", "s"}, {"t", "'"}, {"\u0120", "i"}, {"\u0120", "\u0120"}});
  json["pre_tokenizer"] = test::gpt2_pre_tokenizer();
  CHECK(merged(bpe(json), "it's   it") == "i|t|'s|  | i|t");
  json["pre_tokenizer"]["add_prefix_space"] = true;
  CHECK(merged(bpe(json), "it") == " i|t");
  CHECK(merged(bpe(json), " it") == " i|t");
}

TEST_CASE("added tokens are cut out first, the longest at the leftmost place") {
  Json json = tokenizer_json(kMerges);
  auto& added = json["added_tokens"];
  added.push_back(test::added_token(263, "<x>", /*special=*/false));
  added.push_back(test::added_token(264, "<x>y", /*special=*/false));
  const BpeTokenizer tokenizer = bpe(json);
  CHECK(tokenizer.encode("ab<x>ab") == Ids{kAb, 263, kAb});
  CHECK(tokenizer.encode("<x>y</s><s") == Ids{264, kEos, '<', 's'});
  CHECK(tokenizer.decode({kBos, kAb, 263, kEos}) == "ab<x>");
  added[2]["single_word"] = added[2]["lstrip"] = added[2]["rstrip"] = true;
  CHECK(bpe(json).encode("a  <x>\n b") == Ids{'a', 263, 'b'});
  CHECK(bpe(json).encode("a<x>") == Ids{'a', '<', 'x', '>'});
  CHECK(bpe(json).encode("\u00e9<x>").size() == 4);
}

TEST_CASE("what is no UTF-8 is encoded as U+FFFD") {
  const BpeTokenizer tokenizer = bpe(tokenizer_json());
  CHECK(tokenizer.decode(tokenizer.encode("a\xff\xe4\xbd!")) == "a\ufffd\ufffd!");
  CHECK(tokenizer.encode("\xed\xa0\x80").size() == 9);
}

TEST_CASE("decoding gives bytes, leaves out special and unknown ids") {
  const BpeTokenizer tokenizer = bpe(tokenizer_json(kMerges));
  CHECK(tokenizer.decode({kBos, kAbc, 0xC3, -1, 1000, kEos}) == "abc\xc3");
  CHECK(tokenizer.vocab_size() == 263);
}

TEST_CASE("a stream gives whole characters, and U+FFFD for what cannot become one") {
  const ByteTokenizer bytes;
  StreamDecoder stream(bytes);
  CHECK(stream.push('a') == "a");
  CHECK(stream.push(0xE4).empty());
  CHECK(stream.push(0xBD).empty());
  CHECK(stream.push(0xA0) == "\u4f60");
  CHECK(stream.push(0xF0).empty());
  CHECK(stream.push('b') ==
        "\ufffd"
        "b");
  CHECK(stream.push(0xFF) == "\ufffd");
  CHECK(stream.push(0xC3).empty());
  CHECK(stream.flush() == "\ufffd");
  CHECK(stream.flush().empty());
}

TEST_CASE("BOS and EOS come from the configuration, DeepSeek's names or the template") {
  Json json = tokenizer_json(kMerges);
  CHECK(bpe(json).bos() == kBos);
  CHECK(bpe(json).eos() == kEos);
  CHECK(bpe(json, R"({"bos_token": {"content": "</s>"}, "eos_token": "<s>"})").bos() == kEos);
  CHECK(bpe(json, R"({"bos_token": null})").bos() == -1);
  CHECK(bpe(json, R"({"bos_token": null})").eos() == kEos);
  json["added_tokens"].push_back(test::added_token(263, "<\uff5cend\u2581of\u2581sentence\uff5c>"));
  CHECK(bpe(json).eos() == 263);
  json["post_processor"] = test::gpt2_pre_tokenizer();
  CHECK(bpe(json).bos() == -1);
  json["added_tokens"].erase(2);
  check_error(json, {"no EOS token is named", "263 tokens, 2 of them added"});
  CHECK(test::has(error_of(json, R"({"eos_token": "<e>"})"), "`<e>` is none of the 263 tokens"));
}

TEST_CASE("the files come back as they were read, a missing configuration is made") {
  const std::string text = tokenizer_json().dump(3);
  const BpeTokenizer tokenizer({"tokenizer.json", text, "{ \"x\":1}"});
  CHECK(tokenizer.to_json() == text);
  CHECK(tokenizer.config_json() == "{ \"x\":1}");
  const Json made = Json::parse(bpe(tokenizer_json()).config_json());
  CHECK(made["bos_token"] == "<s>");
  CHECK(made["eos_token"] == "</s>");
}

TEST_CASE("what is not supported is an error that names the key") {
  const auto with = [](const char* pointer, const Json& value) {
    Json json = tokenizer_json();
    json[Json::json_pointer(pointer)] = value;
    return json;
  };
  check_error(with("/normalizer", {{"type", "NFC"}}), {"normalizer", "NFC"});
  check_error(with("/truncation", {{"max_length", 5}}), {"truncation"});
  check_error(with("/padding", Json::object()), {"padding"});
  check_error(with("/extra", 1), {"extra (1) is not a known key"});
  check_error(with("/version", "2.0"), {"version"});
  check_error(with("/decoder", nullptr), {"`decoder`"});
  check_error(with("/decoder", {{"type", "Metaspace"}}), {"decoder.type", "Metaspace"});
  check_error(with("/post_processor/type", "BertProcessing"), {"post_processor.type"});
  check_error(with("/model/type", "Unigram"), {"model.type", "Unigram"});
  check_error(with("/model/dropout", 0.1), {"model.dropout (0.1)"});
  check_error(with("/model/unk_token", "<unk>"), {"model.unk_token"});
  check_error(with("/model/byte_fallback", true), {"model.byte_fallback"});
  check_error(with("/model/end_of_word_suffix", "</w>"), {"model.end_of_word_suffix"});
  check_error(with("/pre_tokenizer", nullptr), {"pre_tokenizer"});
  check_error(with("/pre_tokenizer/pretokenizers/0/type", "Whitespace"), {"pretokenizers[0].type"});
  check_error(with("/pre_tokenizer/pretokenizers/0/behavior", "Kept"), {"behavior", "Kept"});
  check_error(with("/pre_tokenizer/pretokenizers/6/type", "Digits"),
              {"does not end with ByteLevel"});
  check_error(with("/pre_tokenizer/pretokenizers/0/invert", 1),
              {"invert (1) is not true or false"});
  CHECK(bpe(with("/normalizer", {{"type", "Sequence"}, {"normalizers", Json::array()}})).bos() ==
        256);
}

TEST_CASE("an expression that is not understood is an error that shows it") {
  for (const char* pattern : {"\\bword", "a(?<name>b)", "[a[b]]", "\\p{Han}", "a**", "(?i)\u00e9",
                              "(?i:ss)", "[[:alpha:]]", "a{3}?", "(a", "a)", "*", "\\1", "[z-a]",
                              "[]", "\\x8", "x(?=y)*", "[a&&b]", "\\p{"}) {
    Json json = tokenizer_json();
    json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern;
    check_error(json, {"pre_tokenizer.pretokenizers[0].pattern.Regex", pattern});
  }
}

TEST_CASE("a search that PCRE2 gives up is an error, not a text cut otherwise") {
  Json json = tokenizer_json();
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a|aa)+b";
  const BpeTokenizer tokenizer = bpe(json);
  CHECK(tokenizer.encode("aaab").size() == 4);
  const std::string message =
      test::message_of<DataError>([&] { (void)tokenizer.encode(std::string(198, 'a') + "cb"); });
  CHECK(
      test::has(message, "pretokenizers[0]: PCRE2 gives up matching 200 characters: match limit"));
  CHECK(tokenizer.encode("aaab").size() == 4);
}

TEST_CASE("a vocabulary that does not add up is an error that names the token") {
  Json json = tokenizer_json(kMerges);
  json["model"]["vocab"]["ab"] = 300;
  check_error(json, {"model.vocab", "`ab` the id 300", "only 261 tokens"});
  json = tokenizer_json(kMerges);
  json["model"]["vocab"]["ab"] = 257;
  check_error(json, {"model.vocab", "the id 257 to both", "`ab`", "`bc`"});
  json = tokenizer_json();
  json["model"]["vocab"].erase("x");
  json["model"]["vocab"]["long"] = 120;
  check_error(json, {"model.vocab", "`x` for byte 120 of 256"});
  json = tokenizer_json();
  json["model"]["merges"] = {"a b"};
  check_error(json, {"model.merges[0]", "`ab`", "none of the 256"});
  json["model"]["merges"] = {"a bcd"};
  check_error(json, {"model.merges[0]", "`bcd`"});
  json["model"]["merges"] = {"abc"};
  check_error(json, {"model.merges[0]", "not two tokens"});
  json = tokenizer_json();
  json["added_tokens"][1]["id"] = 900;
  check_error(json, {"added_tokens[1]", "`</s>` the id 900", "would give it 257"});
  json["added_tokens"][1] = json["added_tokens"][0];
  check_error(json, {"added_tokens[1]", "`<s>` once more"});
  CHECK(test::has(test::message_of<DataError>([] { BpeTokenizer({"f.json", "{\"a\":", {}}); }),
                  "f.json: not valid JSON at byte"));
}

TEST_CASE("many threads encode at the same time") {
  const BpeTokenizer tokenizer = bpe(tokenizer_json(kMerges));
  const std::string text = "abc ab \u00e9t\u00e9 1234 <s> ab  c";
  const Ids expected = tokenizer.encode(text);
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < wrong.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 500; ++k) wrong[i] += tokenizer.encode(text) != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4));
}

TEST_CASE("make_tokenizer reads a file or a folder, and knows the byte tokenizer's file") {
  const test::TempDirectory folder;
  CHECK(test::has(test::message_of<DataError>([&] { (void)make_tokenizer(folder.path()); }),
                  "tokenizer.json: no such file"));
  const std::string path = folder / "tokenizer.json";
  test::write_file(path, Json::parse(ByteTokenizer().to_json()).dump());
  CHECK(make_tokenizer(path)->encode("<\uff5cpad\uff5c>").size() == 11);
  test::write_file(path, tokenizer_json(kMerges).dump());
  CHECK(make_tokenizer(folder.path())->encode("abc") == Ids{kAbc});
  CHECK(make_tokenizer(path)->bos() == kBos);
  test::write_file(folder / "tokenizer_config.json", R"({"bos_token": null, "eos_token": "<s>"})");
  CHECK(make_tokenizer(path)->eos() == kBos);
  const std::string text = test::write_file(folder / "text", "abc");
  const std::string message =
      test::message_of<DataError>([&] { (void)read_corpus(text, *make_tokenizer(path)); });
  CHECK(test::has(message, "none of the tokenizer's 263 tokens is BOS"));
}

}  // namespace
}  // namespace dsmoe::data
