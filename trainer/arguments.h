#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace dsmoe::train {

/// Where a value from the command line goes. A bool is a flag; a list of numbers is given as 1,2,3;
/// a list of strings takes whatever follows.
using ArgumentTarget =
    std::variant<bool*, int64_t*, double*, std::string*, std::optional<std::string>*,
                 std::vector<int64_t>*, std::vector<std::string>*>;

enum class Range { kAny, kNonNegative, kPositive };

/// One option ("--model") or positional argument ("config") of a verb.
struct Argument {
  std::string name;
  ArgumentTarget target;
  std::string help;
  bool required = false;
  Range range = Range::kAny;
  std::vector<std::string> one_of = {};    ///< the values allowed; empty: any
  std::vector<std::string> excludes = {};  ///< earlier options that may not stand beside it
};

/// A verb as the command line sees it. The targets outlive the parsing.
struct Verb {
  std::string name;
  std::string help;
  std::vector<Argument> arguments;
};

/// What the command line asked for.
struct Parsed {
  std::optional<size_t> verb;  ///< index of the verb to run
  bool help_config = false;
  int exit_code = 0;  ///< where no verb is to run: 2 after wrong or missing arguments
};

/// Fills the targets of the chosen verb; prints help and complaints itself. CLI11 is seen by this
/// function's file alone: its headers cost seconds in every file that reads them.
[[nodiscard]] Parsed parse_arguments(int argc, char** argv, std::span<const Verb> verbs);

}  // namespace dsmoe::train
