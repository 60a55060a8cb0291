#include <c10/util/Exception.h>

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
#include "trainer/same_program.h"

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
  try {
    dsmoe::train::check_same_program(all);  // before anything that builds could do differently
    CommandContext context{all, dsmoe::train::gather_placements(all), 1, console};
    context.ranks_on_cores =
        dsmoe::train::ranks_on_cores_of(context.placements, all.rank(), world.ranks_on_host());
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

std::vector<std::unique_ptr<Command>> all_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(dsmoe::train::train_command());
  commands.push_back(dsmoe::train::finetune_command());
  commands.push_back(dsmoe::train::eval_command());
  commands.push_back(dsmoe::train::generate_command());
  commands.push_back(dsmoe::train::chat_command());
  commands.push_back(dsmoe::train::inspect_command());
  commands.push_back(dsmoe::train::export_command());
  commands.push_back(dsmoe::train::bench_command());
  commands.push_back(dsmoe::train::tokenize_command());
  commands.push_back(dsmoe::train::route_command());
  return commands;
}

std::vector<dsmoe::train::Verb> verbs_of(const std::vector<std::unique_ptr<Command>>& commands) {
  std::vector<dsmoe::train::Verb> verbs;
  for (const auto& command : commands) verbs.push_back(command->verb());
  return verbs;
}

/// Starts the ranks and runs the verb on each.
int start(Command& command) {
  dsmoe::train::keep_freed_memory();
  try {
    const auto world = dsmoe::parallel::start("auto");
    return run_command(command, *world);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", message_of(error).c_str());
    return dynamic_cast<const dsmoe::UserError*>(&error) != nullptr ? kUserError : kOurError;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto commands = all_commands();
  const auto parsed = dsmoe::train::parse_arguments(argc, argv, verbs_of(commands));
  if (parsed.help_config) {
    std::fputs(dsmoe::config::help_text().c_str(), stdout);
    return 0;
  }
  return parsed.verb ? start(*commands[*parsed.verb]) : parsed.exit_code;
}
