#include "configs/error_list.h"

#include <utility>

namespace dsmoe::config {
namespace {

constexpr const char* kHint =
    "hint: configs/README.md and --help-config list every key with its meaning, default and range";

}  // namespace

void ErrorList::add(const std::string& where, const std::string& key, const std::string& what) {
  add((where.empty() ? "" : where + ": ") + key + ": " + what);
}

void ErrorList::add(std::string message) { messages_.push_back(std::move(message)); }

void ErrorList::add(const ConfigError& error) {
  const std::string message = error.what();
  add(message.substr(0, message.find("\nhint:")));
}

void ErrorList::throw_if_any() const {
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
  throw ConfigError(text + kHint);
}

}  // namespace dsmoe::config
