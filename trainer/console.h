#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace dsmoe::train {

struct ConsoleOptions {
  bool quiet = false;      ///< shows errors only, as ranks other than 0 do
  bool to_stderr = false;  ///< everything on stderr, as under --json
};

/// What the user sees: information on stdout, warnings and errors on stderr, coloured only on a
/// terminal (and not under NO_COLOR). The same lines, with the time, go to a file once one is
/// named.
class Console {
 public:
  explicit Console(const ConsoleOptions& options = {});
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  /// From now on appends to `path` too, quiet or not. Throws UserError when it cannot be written.
  void tee_to(const std::string& path);

  void info(std::string_view text);
  void warn(std::string_view text);
  void error(std::string_view text);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dsmoe::train
