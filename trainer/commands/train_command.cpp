#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "configs/dump.h"
#include "modules/model_census.h"
#include "trainer/agreement.h"
#include "trainer/check_run.h"
#include "trainer/checkpoint.h"
#include "trainer/command.h"
#include "trainer/commands/memory_json.h"
#include "trainer/run_summary.h"
#include "trainer/schedule.h"
#include "trainer/session.h"
#include "trainer/stop_signal.h"
#include "trainer/train_run.h"

namespace dsmoe::train {
namespace {

struct TrainCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  std::string config_path;
  std::vector<std::string> overrides;
  bool dry_run = false;
};

void print_json(const config::RunConfig& config, const parallel::Topology& topology) {
  const auto census = nn::count_parameters(config.model);
  const int64_t cache = nn::kv_cache_elements(config.model);
  const auto bytes = static_cast<int64_t>(c10::elementSize(compute_dtype(config.run.precision)));
  const nlohmann::ordered_json json = {
      {"parameters", {{"total", census.total}, {"active", census.active}}},
      {"kv_cache", {{"elements_per_token", cache}, {"bytes_per_token", cache * bytes}}},
      {"length", {{"steps", total_steps(config)}, {"tokens", total_tokens(config)}}},
      {"memory", memory_json(estimate_memory(config, topology))},
      {"communication", {{"row_bytes_per_step", estimate_row_bytes(config, topology)}}},
      {"config", config::dump(config)}};
  std::fputs((json.dump(2) + "\n").c_str(), stdout);
}

int show_dry_run(const TrainCommand& command, const config::RunConfig& config,
                 CommandContext& context) {
  agree(context.world, [&] { check_run(config, context.world.size()); });
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

Verb TrainCommand::verb() {
  return {"train",
          "pretrain, or go on where a run was left",
          {{"config", &config_path, "YAML file", /*required=*/true},
           {"overrides", &overrides, "key=value ..."},
           {"--dry-run", &dry_run, "print the resolved run, parameters, memory and traffic; stop"},
           {"--json", &json, "with --dry-run: one JSON object on stdout"}}};
}

int TrainCommand::run(CommandContext& context) {
  const config::RunConfig config = resolve_on_all(config_path, overrides, context);
  if (dry_run) return show_dry_run(*this, config, context);
  catch_stop_signals();
  return TrainRun(config, context).run();
}

}  // namespace

std::unique_ptr<Command> train_command() { return std::make_unique<TrainCommand>(); }

}  // namespace dsmoe::train
