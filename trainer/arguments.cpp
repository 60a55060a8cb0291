#include "trainer/arguments.h"

#include <CLI/CLI.hpp>
#include <cstdio>

namespace dsmoe::train {
namespace {

constexpr int kUserError = 2;

CLI::Option* bind(CLI::App& app, const Argument& argument) {
  const auto add = [&](auto* target) -> CLI::Option* {
    using Target = std::remove_pointer_t<decltype(target)>;
    if constexpr (std::is_same_v<Target, bool>) {
      return app.add_flag(argument.name, *target, argument.help);
    } else {
      return app.add_option(argument.name, *target, argument.help);
    }
  };
  CLI::Option* option = std::visit(add, argument.target);
  if (std::holds_alternative<std::vector<int64_t>*>(argument.target)) option->delimiter(',');
  return option;
}

void restrict_to(CLI::Option& option, CLI::App& app, const Argument& argument) {
  option.required(argument.required);
  if (argument.range == Range::kPositive) option.check(CLI::PositiveNumber);
  if (argument.range == Range::kNonNegative) option.check(CLI::NonNegativeNumber);
  if (!argument.one_of.empty()) option.check(CLI::IsMember(argument.one_of));
  for (const std::string& other : argument.excludes) option.excludes(app.get_option(other));
}

CLI::App* add(CLI::App& program, const Verb& verb) {
  CLI::App* app = program.add_subcommand(verb.name, verb.help);
  for (const Argument& argument : verb.arguments) {
    restrict_to(*bind(*app, argument), *app, argument);
  }
  return app;
}

/// CLI11 ends with its own codes; wrong arguments are the user's.
int exit_of(const CLI::App& program, const CLI::ParseError& error) {
  return program.exit(error) == 0 ? 0 : kUserError;
}

}  // namespace

Parsed parse_arguments(int argc, char** argv, std::span<const Verb> verbs) {
  CLI::App program("dsmoe: trains DeepSeek-V2-style mixture-of-experts language models", "dsmoe");
  program.require_subcommand(0, 1);
  Parsed parsed;
  program.add_flag("--help-config", parsed.help_config, "every configuration key, and exit");
  std::vector<CLI::App*> apps;
  for (const Verb& verb : verbs) apps.push_back(add(program, verb));
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = exit_of(program, error);
    return parsed;
  }
  for (size_t i = 0; i < apps.size(); ++i) {
    if (apps[i]->parsed()) parsed.verb = i;
  }
  if (!parsed.verb && !parsed.help_config) {
    std::fputs(program.help().c_str(), stderr);
    parsed.exit_code = kUserError;
  }
  return parsed;
}

}  // namespace dsmoe::train
