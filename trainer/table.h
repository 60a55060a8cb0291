#pragma once

#include <string>
#include <utility>
#include <vector>

namespace dsmoe::train {

/// Two columns under section titles, for what is shown at the start and the end of a run:
///
///     model
///       parameters  3,712,512
///       active      1,204,224
///
///     data
///       ...
class Table {
 public:
  void section(const std::string& title);
  /// A row of the latest section; further lines of `value` are set under its first.
  void row(const std::string& key, const std::string& value);
  /// Keys are padded to the longest of the whole table; no newline at the end.
  [[nodiscard]] std::string text() const;

 private:
  struct Section {
    std::string title;
    std::vector<std::pair<std::string, std::string>> rows;
  };
  std::vector<Section> sections_;
};

}  // namespace dsmoe::train
