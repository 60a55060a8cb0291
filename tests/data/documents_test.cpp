#include "data/documents.h"

#include <filesystem>
#include <string>
#include <vector>

#include "configs/errors.h"
#include "tests/data/files.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"

namespace dsmoe::data {
namespace {

using test::has;
using test::write_file;

std::vector<std::string> texts(const std::string& path) {
  std::vector<std::string> result;
  read_documents(path, [&](const Document& document) { result.push_back(document.text); });
  return result;
}

std::string complaint(const std::string& path) {
  return test::message_of<DataError>([&] { texts(path); });
}

TEST_CASE("a plain text file is one document of its bytes, UTF-8 or not") {
  const test::TempDirectory folder;
  const std::string bytes("\xff\x00 a\r\n\n", 7);
  CHECK(texts(write_file(folder / "a.txt", bytes)) == std::vector<std::string>{bytes});
}

TEST_CASE("documents say how much of their file they take, together with blank lines all of it") {
  const test::TempDirectory folder;
  write_file(folder / "a.jsonl", "{\"text\": \"\\u0041\"}\n\n{\"text\": \"bee\"}\n");
  write_file(folder / "b.txt", "sea");
  std::vector<int64_t> bytes;
  read_documents(folder.path(), [&](const Document& d) { bytes.push_back(d.bytes_in_file); });
  CHECK(bytes == std::vector<int64_t>{19, 16, 3});
  CHECK(bytes_of_documents(folder.path()) == 39);
  CHECK(bytes_of_documents(folder / "b.txt") == 3);
  const auto missing = [&] { static_cast<void>(bytes_of_documents(folder / "none")); };
  CHECK(has(test::message_of<DataError>(missing), "none: no such file"));
}

TEST_CASE("a directory gives its regular files by name and leaves out hidden ones") {
  const test::TempDirectory folder;
  write_file(folder / "b.txt", "bee");
  write_file(folder / "c.jsonl", "{\"text\": \"cee\"}\n{\"text\": \"dee\"}\n");
  write_file(folder / "a", "ay");
  write_file(folder / ".hidden", "no");
  std::filesystem::create_directory(folder / "sub");
  write_file(folder / "sub/e", "no");
  CHECK(texts(folder.path()) == std::vector<std::string>{"ay", "bee", "cee", "dee"});
}

TEST_CASE("JSONL gives text and domain of each line, with or without a last newline") {
  const test::TempDirectory folder;
  const std::string path =
      write_file(folder / "a.jsonl",
                 "{\"text\": \"a\\u00e9\\n\", \"domain\": \"x\", \"id\": 3}\r\n\n{\"text\": \"\"}");
  std::vector<Document> documents;
  read_documents(path, [&](Document document) { documents.push_back(std::move(document)); });
  REQUIRE(documents.size() == 2);
  CHECK(documents[0].text == "a\xc3\xa9\n");
  CHECK(documents[0].domain == "x");
  CHECK(documents[1].text.empty());
  CHECK(documents[1].domain.empty());
}

TEST_CASE("every complaint about JSONL names file and line and ends with a hint") {
  const test::TempDirectory folder;
  const std::string good = "{\"text\": \"a\"}\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{\"text\": \"a\"", "not valid JSON"},
      {"{\"text\": \"\xff\xfe\"}", "ill-formed UTF-8 byte; last read: '\"\\xff'"},
      {"{\"text\": \"\\ud800\"}", "not valid JSON"},
      {"{\"body\": \"a\"}", "no `text` field in this object"},
      {"[1]", "no `text` field in this array"},
      {"{\"text\": 3}", "`text` is number, not a string"},
      {"{\"text\": \"a\", \"domain\": null}", "`domain` is null, not a string"}};
  for (const auto& [line, reason] : cases) {
    const std::string path = write_file(folder / "a.jsonl", good + "\n" + line + "\n" + good);
    const std::string message = complaint(path);
    INFO(message);
    CHECK(has(message, path + ":3: "));
    CHECK(has(message, reason));
    CHECK(has(message, "\nhint: "));
  }
}

TEST_CASE("a missing, empty or special file is named in a complaint") {
  const test::TempDirectory folder;
  const std::string missing = complaint(folder / "none.jsonl");
  CHECK(has(missing, folder / "none.jsonl"));
  CHECK(has(missing, "no such file"));
  CHECK(has(missing, "\nhint: "));
  CHECK(has(complaint(write_file(folder / "a.txt", "")), "no text in it (1 documents, 0 bytes)"));
  CHECK(has(complaint(write_file(folder / "a.jsonl", "\n")), "no text in it (0 documents"));
  std::filesystem::create_directory(folder / "sub");
  CHECK(has(complaint(folder / "sub"), "no text in it (0 documents"));
  CHECK(has(complaint("/dev/null"), "neither a file nor a directory"));
}

}  // namespace
}  // namespace dsmoe::data
