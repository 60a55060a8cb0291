#pragma once

#include <string>
#include <vector>

#include "configs/errors.h"

namespace dsmoe::config {

/// The hint of an error that is about keys and values.
inline constexpr const char* kEveryKey =
    "configs/README.md and --help-config list every key with its meaning, default and range";

/// Collects what is wrong with a configuration, so that one run shows all of it.
class ErrorList {
 public:
  /// `where: key: what`; an empty `where` is left out.
  void add(const std::string& where, const std::string& key, const std::string& what);
  /// A whole sentence, such as `model.n_group (3) must divide ...`.
  void add(std::string message);
  /// The message of an error without its hint.
  void add(const ConfigError& error);

  [[nodiscard]] bool empty() const { return messages_.empty(); }
  [[nodiscard]] const std::vector<std::string>& messages() const { return messages_; }

  /// Throws one ConfigError with all messages and a last line `hint:`; returns where there is none.
  void throw_if_any(const std::string& hint = kEveryKey) const;

 private:
  std::vector<std::string> messages_;
};

}  // namespace dsmoe::config
