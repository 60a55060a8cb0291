#include "data/sample_row.h"

#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "tests/data/files.h"
#include "tests/support/catch.h"

namespace dsmoe::data {
namespace {

SampleRow parse(const std::string& text, const config::DataSource& source = {}) {
  return parse_sample(nlohmann::json::parse(text), source, "f.jsonl:3");
}

/// Turns as `s:text`, `u:text`, `a:text@weight`.
std::string spoken(const SampleRow& row) {
  std::string text;
  for (const Message& m : std::get<std::vector<Message>>(row.content)) {
    text += text.empty() ? "" : " ";
    text += m.role == Role::kSystem ? "s:" : m.role == Role::kUser ? "u:" : "a:";
    text += m.content;
    if (m.role == Role::kAssistant && m.weight != 1) {
      text += "@" + std::to_string(m.weight).substr(0, 3);
    }
  }
  return text;
}

std::string complaint(const std::string& text) {
  return test::message_of<DataError>([&] { (void)parse(text); });
}

TEST_CASE("the three shapes of conversations read as the same turns") {
  const std::string talk = "s:Be brief. u:Hi a:Hello. u:Bye a:Ciao.";
  CHECK(spoken(parse(R"({"messages": [{"role": "system", "content": "Be brief."},
      {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."},
      {"role": "user", "content": "Bye"}, {"role": "assistant", "content": "Ciao."}]})")) == talk);
  CHECK(spoken(parse(R"({"system": "Be brief.", "conversations": [
      {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."},
      {"from": "human", "value": "Bye"}, {"from": "gpt", "value": "Ciao."}]})")) == talk);
  CHECK(spoken(parse(R"({"system": "Be brief.", "history": [["Hi", "Hello."]],
      "instruction": "Bye", "input": "", "output": "Ciao."})")) == talk);
}

TEST_CASE("an instruction and its input are one question") {
  CHECK(spoken(parse(R"({"instruction": "Add", "input": "1 2", "output": "3"})")) ==
        "u:Add\n1 2 a:3");
}

TEST_CASE("columns and tags name what a file calls otherwise") {
  config::DataSource source;
  source.columns.messages = "dialog";
  source.tags = {.role = "who", .content = "says", .user = "Q", .assistant = "A", .system = ""};
  CHECK(spoken(parse(R"({"dialog": [{"who": "Q", "says": "1+1"}, {"who": "A", "says": "2"}]})",
                     source)) == "u:1+1 a:2");
  config::DataSource alpaca;
  alpaca.columns.instruction = "prompt";
  alpaca.columns.output = "response";
  CHECK(spoken(parse(R"({"prompt": "1+1", "response": "2"})", alpaca)) == "u:1+1 a:2");
}

TEST_CASE("answers carry weights, and a mask is a weight of 0") {
  CHECK(spoken(parse(R"({"messages": [{"role": "user", "content": "x"},
      {"role": "assistant", "content": "y", "weight": 0.5},
      {"role": "assistant", "content": "z", "mask": 1}]})")) == "u:x a:y@0.5 a:z@0.0");
}

TEST_CASE("documents and rendered segments are rows too, and keep their domain") {
  const SampleRow text = parse(R"({"text": "abc", "domain": "d"})");
  CHECK(std::get<std::string>(text.content) == "abc");
  CHECK(text.domain == "d");
  const auto segments = std::get<std::vector<Segment>>(
      parse(R"({"segments": [{"text": "q", "weight": 0}, {"text": "a"}]})").content);
  REQUIRE(segments.size() == 2);
  CHECK(segments[0].weight == 0);
  CHECK(segments[1].weight == 1);
}

TEST_CASE("a row that teaches nothing is refused by its place and with a hint") {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"({"question": "x"})", "none of the fields messages"},
      {R"([1, 2])", "this array has none of the fields"},
      {R"({"messages": {}})", "`messages` is object, not a list"},
      {R"({"messages": []})", "an empty conversation: 0 turns"},
      {R"({"messages": [{"role": "user", "content": ""}]})", "an empty conversation: 1 turns"},
      {R"({"messages": [{"role": "user", "content": "x"}]})", "nothing to learn"},
      {R"({"messages": [{"role": "assistant", "content": "x", "weight": 0}]})", "nothing to learn"},
      {R"({"messages": [{"role": "bard", "content": "x"}]})", "unknown role `bard`"},
      {R"({"messages": [{"content": "x"}]})", "turn 1: no `role`"},
      {R"({"messages": [{"role": "user", "content": ["x"]}]})", "`content` is array, not a string"},
      {R"({"messages": [{"role": "user", "content": "x", "weight": 1}]})", "only answers"},
      {R"({"messages": [{"role": "assistant", "content": "x", "weight": -1}]})", "`weight` (-1)"},
      {R"({"instruction": "x"})", "no `output`"},
      {R"({"instruction": "x", "output": "y", "history": ["z"]})", "`history` holds \"z\""},
      {R"({"segments": [{"text": "x", "weight": 0}]})", "no segment to learn"},
      {R"({"text": 5})", "`text` is number, not a string"}};
  for (const auto& [row, part] : cases) {
    INFO(row);
    const std::string message = complaint(row);
    CHECK(message.rfind("f.jsonl:3", 0) == 0);
    CHECK(test::has(message, part));
    CHECK(test::has(message, "\nhint: "));
  }
}

}  // namespace
}  // namespace dsmoe::data
