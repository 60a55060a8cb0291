#include "data/sample_row.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "configs/codec.h"
#include "configs/errors.h"

namespace dsmoe::data {
namespace {

using Json = nlohmann::json;
using Names = std::vector<std::string>;

/// The name that was configured, else the usual ones.
Names names_of(const std::string& configured, Names usual) {
  return configured.empty() ? std::move(usual) : Names{configured};
}

/// A part of a row, and where it stands.
struct Part {
  const Json& value;
  std::string place;

  [[noreturn]] void fail(const std::string& problem, const std::string& hint) const {
    throw DataError(place + ": " + problem + "\nhint: " + hint);
  }

  /// The member under the first of the names that is there and not null.
  [[nodiscard]] const Json* find(const Names& names) const {
    for (const std::string& name : names) {
      const auto found = value.is_object() ? value.find(name) : value.end();
      if (value.is_object() && found != value.end() && !found->is_null()) return &*found;
    }
    return nullptr;
  }

  [[nodiscard]] std::string text(const Names& names) const {
    const Json* const found = find(names);
    if (found == nullptr) fail("no `" + names.front() + "`", "name it under columns or tags");
    return as_text(*found, names.front());
  }

  [[nodiscard]] std::string text_or_empty(const Names& names) const {
    const Json* const found = find(names);
    return found == nullptr ? "" : as_text(*found, names.front());
  }

  [[nodiscard]] const Json& list(const Json& candidate, const std::string& name) const {
    if (!candidate.is_array()) {
      fail("`" + name + "` is " + candidate.type_name() + ", not a list", "write [...]");
    }
    return candidate;
  }

  [[nodiscard]] std::string as_text(const Json& candidate, const std::string& name) const {
    if (!candidate.is_string()) {
      fail("`" + name + "` is " + candidate.type_name() + ", not a string", "write \"...\"");
    }
    return candidate.get<std::string>();
  }

  /// A weight that stands there, or 1; `mask: 1` is a weight of 0.
  [[nodiscard]] double weight() const {
    const Json* const mask = find({"mask"});
    if (mask != nullptr && *mask == 1) return 0.0;
    const Json* const weight = find({"weight"});
    if (weight == nullptr) return 1.0;
    if (!weight->is_number() || weight->get<double>() < 0.0) {
      fail("`weight` (" + weight->dump() + ") is no number from 0 on",
           "0: not learned, 1: learned");
    }
    return weight->get<double>();
  }
};

/// Turns of a row, with the names that its source uses.
class Turns {
 public:
  explicit Turns(const config::TagNames& tags)
      : role_(names_of(tags.role, {"role", "from"})),
        content_(names_of(tags.content, {"content", "value"})),
        words_{{Role::kUser, names_of(tags.user, {"user", "human"})},
               {Role::kAssistant, names_of(tags.assistant, {"assistant", "gpt"})},
               {Role::kSystem, names_of(tags.system, {"system"})}} {}

  [[nodiscard]] Message read(const Part& turn) const {
    const Role role = role_of(turn);
    if (role != Role::kAssistant && turn.find({"weight"}) != nullptr && turn.weight() > 0) {
      turn.fail("`weight` above 0 on a turn that is not the assistant's",
                "only answers are learned");
    }
    return {role, turn.text(content_), role == Role::kAssistant ? turn.weight() : 0.0};
  }

 private:
  [[nodiscard]] Role role_of(const Part& turn) const {
    const std::string word = turn.text(role_);
    Names known;
    for (const auto& [role, names] : words_) {
      if (std::find(names.begin(), names.end(), word) != names.end()) return role;
      known.insert(known.end(), names.begin(), names.end());
    }
    turn.fail("unknown role `" + word + "`",
              "known are " + config::joined_words(known) + "; others under data.train[].tags");
  }

  Names role_;
  Names content_;
  std::vector<std::pair<Role, Names>> words_;
};

void check_conversation(const std::vector<Message>& messages, const Part& row) {
  const auto said = [](const Message& m) { return !m.content.empty(); };
  if (std::none_of(messages.begin(), messages.end(), said)) {
    row.fail("an empty conversation: " + std::to_string(messages.size()) + " turns, 0 characters",
             "data.bad_rows=skip leaves such rows out and counts them");
  }
  const auto learned = [](const Message& m) {
    return m.role == Role::kAssistant && m.weight > 0 && !m.content.empty();
  };
  if (std::none_of(messages.begin(), messages.end(), learned)) {
    row.fail("nothing to learn: none of " + std::to_string(messages.size()) +
                 " turns is an answer of weight above 0",
             "data.bad_rows=skip leaves such rows out and counts them");
  }
}

std::vector<Message> with_system(const Part& row, const config::ColumnNames& columns) {
  const std::string system = row.text_or_empty(names_of(columns.system, {"system"}));
  if (system.empty()) return {};
  return {{Role::kSystem, system, 0.0}};
}

std::vector<Message> read_messages(const Json& list, const Part& row,
                                   const config::DataSource& source) {
  const Turns turns(source.tags);
  std::vector<Message> messages = with_system(row, source.columns);
  for (const Json& turn : row.list(list, "messages")) {
    messages.push_back(
        turns.read({turn, row.place + ", turn " + std::to_string(messages.size() + 1)}));
  }
  return messages;
}

/// Instruction and input are two lines of one question.
std::string question_of(const Part& row, const config::ColumnNames& columns) {
  const std::string question = row.text(names_of(columns.instruction, {"instruction"}));
  const std::string input = row.text_or_empty(names_of(columns.input, {"input"}));
  return input.empty() ? question : question + "\n" + input;
}

std::vector<Message> read_instruction(const Part& row, const config::ColumnNames& columns) {
  std::vector<Message> messages = with_system(row, columns);
  const auto say = [&](const std::string& question, const std::string& answer) {
    messages.push_back({Role::kUser, question, 0.0});
    messages.push_back({Role::kAssistant, answer, 1.0});
  };
  if (const Json* const history = row.find(names_of(columns.history, {"history"}))) {
    for (const Json& pair : row.list(*history, "history")) {
      if (!pair.is_array() || pair.size() != 2) {
        row.fail("`history` holds " + pair.dump().substr(0, 40),
                 "write [[\"question\", \"answer\"]]");
      }
      say(row.as_text(pair[0], "history"), row.as_text(pair[1], "history"));
    }
  }
  say(question_of(row, columns), row.text(names_of(columns.output, {"output"})));
  messages.back().weight = row.weight();
  return messages;
}

std::vector<Segment> read_segments(const Json& list, const Part& row) {
  std::vector<Segment> segments;
  double sum = 0;
  for (const Json& one : row.list(list, "segments")) {
    const Part part{one, row.place + ", segment " + std::to_string(segments.size() + 1)};
    segments.push_back({part.text({"text"}), part.weight()});
    sum += segments.back().text.empty() ? 0.0 : segments.back().weight;
  }
  if (sum <= 0) row.fail("no segment to learn", "scripts/render-chat marks the answers");
  return segments;
}

}  // namespace

SampleRow parse_sample(const Json& value, const config::DataSource& source,
                       const std::string& place) {
  const Part row{value, place};
  const auto& columns = source.columns;
  SampleRow sample{std::string(), row.text_or_empty({"domain"})};
  const Json* const turns = row.find(names_of(columns.messages, {"messages", "conversations"}));
  if (turns != nullptr || row.find(names_of(columns.instruction, {"instruction"})) != nullptr) {
    auto messages =
        turns != nullptr ? read_messages(*turns, row, source) : read_instruction(row, columns);
    check_conversation(messages, row);
    sample.content = std::move(messages);
  } else if (const Json* const segments = row.find({"segments"})) {
    sample.content = read_segments(*segments, row);
  } else if (const Json* const text = row.find(names_of(columns.text, {"text"}))) {
    sample.content = row.as_text(*text, "text");
  } else {
    row.fail("this " + std::string(value.type_name()) +
                 " has none of the fields messages, conversations, instruction, segments, text",
             "other names go under data.train[].columns, as columns: {messages: dialog}");
  }
  return sample;
}

}  // namespace dsmoe::data
