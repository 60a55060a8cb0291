#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

namespace dsmoe::test {

/// What a Python script printed, and how it ended.
struct PythonResult {
  int exit_code = 0;
  std::string output;  ///< stdout and stderr
};

/// The interpreter of the repository's virtual environment, or $DSMOE_PYTHON; empty if absent.
inline std::string python_path() {
  const char* chosen = std::getenv("DSMOE_PYTHON");
  const std::string path = chosen ? chosen : DSMOE_SOURCE_DIR "/.venv/bin/python";
  return std::filesystem::exists(path) ? path : "";
}

/// True, after printing the reason that ctest shows, when tests against Python cannot run here.
inline bool skip_without_python() {
  if (!python_path().empty()) return false;
  std::cout << "skipped: no " << DSMOE_SOURCE_DIR << "/.venv/bin/python (scripts/setup makes it)\n";
  return true;
}

/// Runs tests/`script` with `arguments`, which the caller has quoted where the shell needs it.
inline PythonResult run_python(const std::string& script, const std::string& arguments) {
  const std::string command =
      python_path() + " " DSMOE_SOURCE_DIR "/tests/" + script + " " + arguments + " 2>&1";
  PythonResult result;
  FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  for (size_t got; (got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    result.output.append(buffer, got);
  }
  const int status = ::pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return result;
}

}  // namespace dsmoe::test
