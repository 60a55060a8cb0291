#include <c10/util/Exception.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "configs/dump.h"
#include "configs/errors.h"
#include "parallel/backends.h"
#include "trainer/agreement.h"
#include "trainer/command.h"
#include "trainer/console.h"
#include "trainer/heap.h"

namespace {

using dsmoe::train::Command;
using dsmoe::train::CommandContext;
using dsmoe::train::Console;

constexpr int kUserError = 2;
constexpr int kOurError = 1;

/// Without LibTorch's C++ stack.
std::string message_of(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  return torch != nullptr ? torch->what_without_backtrace() : error.what();
}

/// Runs the chosen verb on this rank. What only this rank may have met ends all ranks.
int run_command(Command& command, dsmoe::parallel::World& world) {
  auto& all = world.communicator();
  Console console({.quiet = all.rank() != 0, .to_stderr = command.json});
  CommandContext context{all, world.ranks_on_host(), console};
  try {
    return command.run(context);
  } catch (const dsmoe::UserError& error) {
    console.error(error.what());
    return kUserError;
  } catch (const dsmoe::train::PeerFailed&) {
    return kUserError;
  } catch (const std::exception& error) {
    console.error("rank " + std::to_string(all.rank()) + ": " + message_of(error));
    world.abort(kOurError);
  }
  return kOurError;
}

/// CLI11 ends with its own codes; wrong arguments are the user's.
int exit_of(CLI::App& program, const CLI::ParseError& error) {
  return program.exit(error) == 0 ? 0 : kUserError;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App program("dsmoe: trains DeepSeek-V2-style mixture-of-experts language models", "dsmoe");
  program.require_subcommand(0, 1);
  bool help_config = false;
  program.add_flag("--help-config", help_config, "every configuration key, and exit");
  const std::vector<std::shared_ptr<Command>> commands{
      dsmoe::train::add_train(program), dsmoe::train::add_eval(program),
      dsmoe::train::add_generate(program), dsmoe::train::add_inspect(program),
      dsmoe::train::add_bench(program)};
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return exit_of(program, error);
  }
  if (help_config) {
    std::fputs(dsmoe::config::help_text().c_str(), stdout);
    return 0;
  }
  for (const auto& command : commands) {
    if (!command->app->parsed()) continue;
    dsmoe::train::keep_freed_memory();
    try {
      const auto world = dsmoe::parallel::start("auto");
      return run_command(*command, *world);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "error: %s\n", message_of(error).c_str());
      return dynamic_cast<const dsmoe::UserError*>(&error) != nullptr ? kUserError : kOurError;
    }
  }
  std::fputs(program.help().c_str(), stderr);
  return kUserError;
}
