#include "data/token_file.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "configs/errors.h"
#include "tests/data/token_pair.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"

namespace dsmoe::data {
namespace {

namespace fs = std::filesystem;
using Documents = std::vector<std::vector<int64_t>>;
using test::has;

constexpr int64_t kAnyVocabulary = int64_t{1} << 40;

Documents documents_of(const TokenFile& file) {
  Documents documents;
  for (int64_t i = 0; i < file.num_documents(); ++i) {
    const int64_t length = file.start(i + 1) - file.start(i);
    documents.emplace_back(static_cast<size_t>(length));
    file.copy(file.start(i), length, documents.back().data());
  }
  return documents;
}

nlohmann::json golden(const char* part) {
  return nlohmann::json::parse(
      test::read_file(DSMOE_SOURCE_DIR "/tests/golden/token_files.json"))[part];
}

std::string fingerprint(const std::string& prefix) {
  Fingerprint hash;
  TokenFile(prefix, kAnyVocabulary).add_to(hash);
  return hash.hex();
}

size_t files_in(const test::TempDirectory& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
}

TEST_CASE("files of every token type give the documents of the independent script") {
  const test::TempDirectory folder;
  for (const auto& fixture : golden("read")) {
    const std::string dtype = fixture["dtype"];
    INFO(dtype);
    test::write_file(folder / (dtype + ".idx"), test::from_hex(fixture["idx"]));
    test::write_file(folder / (dtype + ".bin"), test::from_hex(fixture["bin"]));
    const TokenFile file(folder / dtype, kAnyVocabulary);
    CHECK(name_of(file.index().type()) == dtype);
    CHECK(file.index().num_sequences() == fixture["sequences"]);
    CHECK(documents_of(file) == fixture["documents"].get<Documents>());
  }
}

TEST_CASE("written files are those of the independent script, byte for byte") {
  const test::TempDirectory folder;
  int number = 0;
  for (const auto& fixture : golden("written")) {
    TokenFileOptions options;
    options.type = fixture["dtype"] == "uint16" ? TokenType::kU16 : TokenType::kI32;
    options.sequence_limit = fixture["limit"];
    const std::string prefix =
        test::write_pair(folder / std::to_string(number++), fixture["documents"], options);
    CHECK(test::read_file(prefix + ".idx") == test::from_hex(fixture["idx"]));
    CHECK(test::read_file(prefix + ".bin") == test::from_hex(fixture["bin"]));
    CHECK(documents_of(TokenFile(prefix, 20)) == fixture["documents"].get<Documents>());
  }
  CHECK(number == 4);
}

TEST_CASE("two bytes a token are written below a vocabulary of 65,500, as Megatron does") {
  CHECK(token_type_for(259) == TokenType::kU16);
  CHECK(token_type_for(65499) == TokenType::kU16);
  CHECK(token_type_for(65500) == TokenType::kI32);
  CHECK(token_type_for(102400) == TokenType::kI32);
}

TEST_CASE("a document may be given in pieces and be empty") {
  const test::TempDirectory folder;
  TokenFileWriter writer(folder / "a", {});
  writer.append({1, 2});
  writer.append({});
  writer.append({3});
  writer.end_document();
  writer.end_document();
  writer.append({4});
  writer.end_document();
  CHECK(writer.num_documents() == 3);
  CHECK(writer.num_tokens() == 4);
  writer.finish();
  CHECK(documents_of(TokenFile(folder / "a", 10)) == Documents{{1, 2, 3}, {}, {4}});
}

TEST_CASE("a writer that does not finish leaves nothing, and neither name before it does") {
  const test::TempDirectory folder;
  {
    TokenFileWriter writer(folder / "a", {});
    writer.append(std::vector<int64_t>(1 << 20, 7));
    CHECK(files_in(folder) == 2);
    CHECK(!fs::exists(folder / "a.bin"));
    CHECK(!fs::exists(folder / "a.idx"));
    CHECK_THROWS_WITH(writer.finish(), Catch::Matchers::Contains("document is open"));
  }
  CHECK(files_in(folder) == 0);
}

TEST_CASE("existing files are replaced only when asked, and stand until the new ones are whole") {
  const test::TempDirectory folder;
  const std::string prefix = test::write_pair(folder / "a", {{1, 2}});
  const auto again = [&] { test::write_pair(prefix, {{3}}); };
  CHECK(has(test::message_of<DataError>(again), "a.idx exists already"));
  TokenFileOptions options;
  options.overwrite = true;
  {
    TokenFileWriter abandoned(prefix, options);
    abandoned.append({5});
  }
  CHECK(documents_of(TokenFile(prefix, 10)) == Documents{{1, 2}});
  test::write_pair(prefix, {{3}}, options);
  CHECK(documents_of(TokenFile(prefix, 10)) == Documents{{3}});
  CHECK(files_in(folder) == 2);
  fs::remove(prefix + ".idx");
  CHECK(has(test::message_of<DataError>(again), "a.bin exists already"));
}

TEST_CASE("when the .idx cannot be put in its place there is no .bin either") {
  const test::TempDirectory folder;
  fs::create_directories(folder / "a.idx/in_the_way");
  TokenFileOptions options;
  options.overwrite = true;
  CHECK_THROWS_AS(test::write_pair(folder / "a", {{1}}, options), DataError);
  CHECK(files_in(folder) == 1);
}

TEST_CASE("a file that is replaced while it is mapped is read on as it was") {
  const test::TempDirectory folder;
  const std::string prefix = test::write_pair(folder / "a", {{1, 2}});
  const TokenFile before(prefix, 10);
  TokenFileOptions options;
  options.overwrite = true;
  test::write_pair(prefix, {{3}}, options);
  CHECK(documents_of(before) == Documents{{1, 2}});
}

TEST_CASE("a place that cannot be written is named") {
  const auto write = [] { test::write_pair("no/such/folder/a", {{1}}); };
  CHECK(has(test::message_of<DataError>(write), "no/such/folder/a.bin"));
}

TEST_CASE("an id that the type cannot hold is not written") {
  const test::TempDirectory folder;
  TokenFileWriter writer(folder / "a", {});
  CHECK_THROWS_WITH(writer.append({65536}), Catch::Matchers::Contains("65536 is no uint16"));
  CHECK_THROWS_WITH(writer.append({-1}), Catch::Matchers::Contains("-1 is no uint16"));
}

TEST_CASE("an id outside the vocabulary is found when it is read, and named with its place") {
  const test::TempDirectory folder;
  const std::string prefix = test::write_pair(folder / "a", {{1, 2}, {}, {3, 259, 4}});
  const TokenFile file(prefix, 259);
  std::vector<int64_t> out(5);
  file.copy(0, 3, out.data());
  file.copy(4, 1, out.data());
  const auto message = test::message_of<DataError>([&] { file.copy(1, 4, out.data()); });
  INFO(message);
  CHECK(has(message, prefix + ".bin: token 1 of document 2 (byte 6) is 259, outside the vocabulary"
                              " of 259\nhint: "));
}

TEST_CASE("a negative id is outside every vocabulary") {
  const test::TempDirectory folder;
  TokenFileOptions options;
  options.type = TokenType::kI32;
  const std::string prefix = test::write_pair(folder / "a", {{1, -7}}, options);
  std::vector<int64_t> out(2);
  const auto read = [&] { TokenFile(prefix, kAnyVocabulary).copy(0, 2, out.data()); };
  CHECK(has(test::message_of<DataError>(read), "token 1 of document 0 (byte 4) is -7"));
}

TEST_CASE("a path means a pair when it names one of the files, or nothing but their prefix") {
  const test::TempDirectory folder;
  const std::string prefix = test::write_pair(folder / "a", {{1}});
  CHECK(token_file_prefix(prefix) == prefix);
  CHECK(token_file_prefix(prefix + ".bin") == prefix);
  CHECK(token_file_prefix(prefix + ".idx") == prefix);
  CHECK(token_file_prefix(folder / "none.idx") == folder / "none");
  CHECK(!token_file_prefix(folder / "none"));
  CHECK(!token_file_prefix(folder.path()));
  test::write_file(folder / "a.jsonl", "{}");
  CHECK(!token_file_prefix(folder / "a.jsonl"));
  fs::create_directory(prefix);
  CHECK(!token_file_prefix(prefix));
}

TEST_CASE("the half that is missing is named") {
  const test::TempDirectory folder;
  const std::string prefix = test::write_pair(folder / "a", {{1}});
  const auto open = [&] { const TokenFile file(*token_file_prefix(prefix), 10); };
  fs::rename(prefix + ".idx", folder / "kept");
  CHECK(has(test::message_of<DataError>(open), "a.idx: No such file"));
  fs::rename(folder / "kept", prefix + ".idx");
  fs::remove(prefix + ".bin");
  CHECK(has(test::message_of<DataError>(open), "a.bin: No such file"));
}

TEST_CASE("a fingerprint sees lengths, size and every token of a small file, and no place") {
  const test::TempDirectory folder;
  const std::string original = fingerprint(test::write_pair(folder / "a", {{1, 2}, {3}}));
  CHECK(fingerprint(test::write_pair(folder / "b", {{1, 2}, {3}})) == original);
  CHECK(fingerprint(test::write_pair(folder / "c", {{1}, {2, 3}})) != original);
  CHECK(fingerprint(test::write_pair(folder / "d", {{1, 2}, {4}})) != original);
  CHECK(fingerprint(test::write_pair(folder / "e", {{1, 2}, {3}, {}})) != original);
}

TEST_CASE("a fingerprint of a large file samples it, first and last tokens included") {
  const test::TempDirectory folder;
  std::vector<int64_t> tokens(5 << 20, 1);
  const auto with = [&](const char* name, size_t at) {
    std::vector<int64_t> changed = tokens;
    changed[at] = 2;
    return fingerprint(test::write_pair(folder / name, {changed}));
  };
  const std::string original = fingerprint(test::write_pair(folder / "a", {tokens}));
  CHECK(with("first", 0) != original);
  CHECK(with("last", tokens.size() - 1) != original);
  CHECK(with("between", 40000) == original);  // the second block begins at token 82,700
  CHECK(with("second", 82800) != original);
}

}  // namespace
}  // namespace dsmoe::data
