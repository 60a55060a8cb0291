#include <memory>

#include "trainer/command.h"
#include "trainer/dry_run.h"
#include "trainer/esft.h"
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
  if (dry_run) return show_dry_run(config, json, context);
  catch_stop_signals();
  return TrainRun(settle_experts(config, context), context).run();
}

}  // namespace

std::unique_ptr<Command> train_command() { return std::make_unique<TrainCommand>(); }

}  // namespace dsmoe::train
