#pragma once

#include <string>
#include <variant>
#include <vector>

namespace dsmoe::data {

enum class Role { kSystem, kUser, kAssistant };

struct Message {
  Role role;
  std::string content;
  double weight = 1.0;  ///< of an assistant's tokens as targets; 0: not learned
};

/// Text as a chat template rendered it, special tokens by name in it.
struct Segment {
  std::string text;
  double weight = 0.0;  ///< of its tokens as targets; 0: not learned
};

/// What one row of a file teaches: a conversation, one that is rendered already, or a document.
struct SampleRow {
  std::variant<std::vector<Message>, std::vector<Segment>, std::string> content;
  std::string domain{};  ///< empty: not given
};

}  // namespace dsmoe::data
