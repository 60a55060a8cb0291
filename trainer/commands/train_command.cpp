#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "configs/dump.h"
#include "configs/validate.h"
#include "modules/model_census.h"
#include "trainer/agreement.h"
#include "trainer/command.h"
#include "trainer/commands/memory_json.h"
#include "trainer/run_summary.h"
#include "trainer/session.h"
#include "trainer/stop_signal.h"
#include "trainer/train_run.h"

namespace dsmoe::train {
namespace {

struct TrainCommand final : Command {
  std::string config_path;
  std::vector<std::string> overrides;
  bool dry_run = false;
};

void print_json(const config::RunConfig& config, const parallel::Topology& topology) {
  const auto census = nn::count_parameters(config.model);
  const nlohmann::ordered_json json = {
      {"parameters", {{"total", census.total}, {"active", census.active}}},
      {"memory", memory_json(estimate_memory(config, topology))},
      {"communication", {{"row_bytes_per_step", estimate_row_bytes(config, topology)}}},
      {"config", config::dump(config)}};
  std::fputs((json.dump(2) + "\n").c_str(), stdout);
}

int dry_run(const TrainCommand& command, const config::RunConfig& config, CommandContext& context) {
  agree(context.world, [&] {
    config::check_training(config);
    config::check_layout(config, context.world.size());
  });
  if (!context.first()) return 0;
  const auto topology =
      parallel::make_topology(context.world.size(), context.world.rank(), config.parallel.expert);
  if (command.json) {
    print_json(config, topology);
    return 0;
  }
  context.console.info(config::dump(config));
  context.console.info(
      run_summary(config, topology, threads_per_rank(config.run.threads, context.ranks_on_host)));
  return 0;
}

}  // namespace

std::shared_ptr<Command> add_train(CLI::App& program) {
  auto command = std::make_shared<TrainCommand>();
  command->app = program.add_subcommand("train", "pretrain, or go on where a run was left");
  command->app->add_option("config", command->config_path, "YAML file")->required();
  command->app->add_option("overrides", command->overrides, "key=value ...");
  command->app->add_flag("--dry-run", command->dry_run,
                         "print the resolved run, parameters, memory and traffic; stop");
  command->app->add_flag("--json", command->json, "with --dry-run: one JSON object on stdout");
  TrainCommand* raw = command.get();
  command->run = [raw](CommandContext& context) {
    const config::RunConfig config = resolve_on_all(raw->config_path, raw->overrides, context);
    if (raw->dry_run) return dry_run(*raw, config, context);
    catch_stop_signals();
    return TrainRun(config, context).run();
  };
  return command;
}

}  // namespace dsmoe::train
