#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "configs/resolve.h"
#include "parallel/world.h"
#include "trainer/console.h"

namespace CLI {
class App;
}

namespace dsmoe::train {

/// What a verb works with once the arguments are read. One per process.
struct CommandContext {
  parallel::Communicator& world;
  int64_t ranks_on_host;
  Console& console;  ///< quiet on ranks other than 0
  [[nodiscard]] bool first() const { return world.rank() == 0; }
};

/// A verb: its options live in what `add` captured; `run` does the work, collectively, and returns
/// the exit code.
struct Command {
  CLI::App* app = nullptr;
  std::function<int(CommandContext&)> run;
  bool json = false;
};

/// Each adds its subcommand to the program.
[[nodiscard]] std::shared_ptr<Command> add_train(CLI::App& program);
[[nodiscard]] std::shared_ptr<Command> add_eval(CLI::App& program);
[[nodiscard]] std::shared_ptr<Command> add_generate(CLI::App& program);
[[nodiscard]] std::shared_ptr<Command> add_inspect(CLI::App& program);
[[nodiscard]] std::shared_ptr<Command> add_bench(CLI::App& program);

/// Where presets are looked for beyond the YAML's folder.
[[nodiscard]] config::SearchPath search_path();

/// The configuration of a YAML file and overrides: rank 0 reads, all get the same resolved text;
/// notices appear once. Collective over world.
[[nodiscard]] config::RunConfig resolve_on_all(const std::string& yaml_path,
                                               const std::vector<std::string>& overrides,
                                               CommandContext& context);

}  // namespace dsmoe::train
