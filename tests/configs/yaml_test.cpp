#include <string>

#include "configs/errors.h"
#include "configs/nearest.h"
#include "configs/yaml_reader.h"
#include "configs/yaml_writer.h"
#include "tests/configs/expect_error.h"
#include "tests/support/catch.h"

using dsmoe::config::edit_distance;
using dsmoe::config::flow_text;
using dsmoe::config::nearest;
using dsmoe::config::Node;
using dsmoe::config::number_text;
using dsmoe::config::parse_yaml;

TEST_CASE("every value knows the line of its key, in blocks and in flows") {
  const Node root = parse_yaml("a: 1\nb:\n  c: [x,\n y]\n  d: {e: 2}\n", "f.yaml");
  CHECK(root.find("a")->where == "f.yaml:1");
  CHECK(root.find("b")->find("c")->where == "f.yaml:3");
  CHECK(root.find("b")->find("c")->items[1].where == "f.yaml:4");
  CHECK(root.find("b")->find("d")->find("e")->where == "f.yaml:5");
}

TEST_CASE("duplicate keys are kept, so that they can be reported") {
  const Node root = parse_yaml("a: 1\na: 2\n", "f");
  CHECK(root.keys.size() == 2);
}

TEST_CASE("quoted words are strings, plain ones may be null") {
  const Node root = parse_yaml("a: null\nb: 'null'\nc:\nd: ~\ne: \"8\"\n", "f");
  CHECK(root.find("a")->is_null());
  CHECK(root.find("b")->quoted);
  CHECK(root.find("c")->is_null());
  CHECK(root.find("d")->is_null());
  CHECK(root.find("e")->quoted);
}

TEST_CASE("JSON is read as it stands, tabs and escapes included") {
  const Node root = parse_yaml("{\n\t\"a\": 1e-06,\n\t\"b\":\"x\\/\\u00e9\"\n}\n", "f.json");
  CHECK(root.find("a")->text == "1e-06");
  CHECK(root.find("b")->text == "x/é");
}

TEST_CASE("broken YAML is an error with its line") {
  expect_config_error([] { parse_yaml("a: 1\nb: [1, 2\n", "f.yaml"); }, {"f.yaml:3", "hint:"});
  expect_config_error([] { parse_yaml("a: 1\n---\nb: 2\n", "f.yaml"); },
                      {"f.yaml: holds more than one YAML document", "hint:"});
  expect_config_error([] { parse_yaml("a: &x 1\nb: *x\n", "f.yaml"); },
                      {"f.yaml:2", "anchors and aliases"});
  expect_config_error([] { parse_yaml("[a]: 1\n", "f.yaml"); }, {"f.yaml:1", "a key must be"});
  expect_config_error([] { parse_yaml(std::string(100000, '['), "f.yaml"); }, {"f.yaml:1"});
}

TEST_CASE("an empty document is null") {
  CHECK(parse_yaml("", "f").is_null());
  CHECK(parse_yaml("# nothing\n", "f").is_null());
}

TEST_CASE("numbers are written so that every YAML reader takes them for numbers") {
  CHECK(number_text(1e-8) == "1.0e-08");
  CHECK(number_text(1.0) == "1.0");
  CHECK(number_text(0.1) == "0.1");
  CHECK(number_text(0.316) == "0.316");
  CHECK(number_text(1e22) == "1.0e+22");
}

TEST_CASE("strings that look like something else are quoted") {
  using dsmoe::config::string_node;
  CHECK(flow_text(string_node("corpus/a.jsonl")) == "corpus/a.jsonl");
  for (const std::string text :
       {"", "null", "No", "12", "1e5", "a: b", "a, b", "#x", " x", "x\ny", "q\"\\", "é", "~"}) {
    INFO(text);
    const std::string written = flow_text(string_node(text));
    CHECK(written.front() == '"');
    CHECK(parse_yaml("a: " + written, "f").find("a")->text == text);
  }
}

TEST_CASE("the edit distance counts insertions, deletions, changes and swaps") {
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("seed", "sede") == 1);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("same", "same") == 0);
}

TEST_CASE("the nearest name is found, and none where nothing is close") {
  CHECK(nearest("hiden_size", {"vocab_size", "hidden_size"}) == "hidden_size");
  CHECK(nearest("foo", {"log", "run"}).empty());
}
