#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "configs/dump.h"
#include "configs/fields.h"
#include "tests/support/catch.h"

namespace {

const std::string kPath = std::string(DSMOE_SOURCE_DIR) + "/configs/README.md";
const std::string kBegin = "<!-- begin reference, made from the field table -->\n";
const std::string kEnd = "<!-- end reference -->\n";

std::string read_readme() {
  std::ifstream file(kPath);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string with_reference(const std::string& text) {
  const size_t begin = text.find(kBegin) + kBegin.size();
  const size_t end = text.find(kEnd);
  return text.substr(0, begin) + dsmoe::config::reference_markdown() + text.substr(end);
}

}  // namespace

TEST_CASE("configs/README.md holds the reference of the field table") {
  INFO("run: test_configs '[write]'");
  const std::string text = read_readme();
  CHECK(text == with_reference(text));
}

TEST_CASE("renew the reference in configs/README.md", "[.][write]") {
  const std::string text = with_reference(read_readme());
  std::ofstream(kPath) << text;
  CHECK(read_readme() == text);
}

TEST_CASE("every key stands once and says what it means") {
  std::set<std::string> seen;
  for (const dsmoe::config::Section& section : dsmoe::config::sections()) {
    for (const auto& row : section.rows) {
      INFO(section.name + "." + row.info.name);
      CHECK(seen.insert(section.name + "." + row.info.name).second);
      CHECK_FALSE(row.info.doc.meaning.empty());
      CHECK_FALSE(row.info.range.empty());
    }
  }
  CHECK(seen.size() == dsmoe::config::all_keys().size());
}

TEST_CASE("the help text lists every key, those of nested maps too") {
  const std::string help = dsmoe::config::help_text();
  for (const std::string& key : dsmoe::config::all_keys()) {
    INFO(key);
    CHECK(help.find("\n" + key + " = ") != std::string::npos);
  }
  CHECK(help.find("model.rope_scaling.factor = ") != std::string::npos);
  CHECK(help.find("data.train.path = ") != std::string::npos);
}
