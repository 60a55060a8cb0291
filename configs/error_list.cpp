#include "configs/error_list.h"

#include <utility>

namespace dsmoe::config {
void ErrorList::add(const std::string& where, const std::string& key, const std::string& what) {
  add((where.empty() ? "" : where + ": ") + key + ": " + what);
}

void ErrorList::add(std::string message) { messages_.push_back(std::move(message)); }

void ErrorList::add(const ConfigError& error) {
  const std::string message = error.what();
  add(message.substr(0, message.find("\nhint:")));
}

void ErrorList::throw_if_any(const std::string& hint) const {
  if (empty()) {
    return;
  }
  std::string text;
  if (messages_.size() > 1) {
    text = std::to_string(messages_.size()) + " errors in the configuration:\n";
  }
  for (const std::string& message : messages_) {
    text += message + "\n";
  }
  throw ConfigError(text + "hint: " + hint);
}

}  // namespace dsmoe::config
