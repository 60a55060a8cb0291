#pragma once

#include <memory>
#include <string>
#include <vector>

#include "configs/resolve.h"
#include "parallel/world.h"
#include "trainer/arguments.h"
#include "trainer/console.h"
#include "trainer/placement.h"

namespace dsmoe::train {

/// What a verb works with once the arguments are read. One per process.
struct CommandContext {
  parallel::Communicator& world;
  std::vector<Placement> placements;  ///< of every rank
  int64_t ranks_on_cores;             ///< that share this one's cores, this one included
  Console& console;                   ///< quiet on ranks other than 0
  [[nodiscard]] bool first() const { return world.rank() == 0; }
};

/// A verb and its options. One object per verb, for the whole process.
struct Command {
  Command() = default;
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  virtual ~Command() = default;
  /// Name and arguments; the targets are this object's members.
  [[nodiscard]] virtual Verb verb() = 0;
  /// The work, collective over the world, with the options read; returns the exit code.
  [[nodiscard]] virtual int run(CommandContext& context) = 0;

  bool json = false;
};

[[nodiscard]] std::unique_ptr<Command> train_command();
[[nodiscard]] std::unique_ptr<Command> finetune_command();
[[nodiscard]] std::unique_ptr<Command> eval_command();
[[nodiscard]] std::unique_ptr<Command> generate_command();
[[nodiscard]] std::unique_ptr<Command> chat_command();
[[nodiscard]] std::unique_ptr<Command> inspect_command();
[[nodiscard]] std::unique_ptr<Command> export_command();
[[nodiscard]] std::unique_ptr<Command> bench_command();
[[nodiscard]] std::unique_ptr<Command> tokenize_command();
[[nodiscard]] std::unique_ptr<Command> route_command();

/// The argument that every verb with machine-readable output has.
[[nodiscard]] Argument json_argument(Command& command);

/// Where presets are looked for beyond the YAML's folder.
[[nodiscard]] config::SearchPath search_path();

/// The configuration of a YAML file and overrides: rank 0 reads, all get the same resolved text;
/// notices appear once. Throws ConfigError where another rank finds
/// another file under that name. Collective over world.
[[nodiscard]] config::RunConfig resolve_on_all(const std::string& yaml_path,
                                               const std::vector<std::string>& overrides,
                                               CommandContext& context,
                                               const config::RunConfig& defaults = {});

}  // namespace dsmoe::train
