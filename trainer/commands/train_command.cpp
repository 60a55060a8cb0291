#include <memory>

#include "trainer/command.h"
#include "trainer/commands/train_to_end.h"
#include "trainer/dry_run.h"

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
           json_argument(*this)}};
}

int TrainCommand::run(CommandContext& context) {
  const config::RunConfig config = resolve_on_all(config_path, overrides, context);
  if (dry_run) return show_dry_run(config, json, context);
  return train_to_end(config, json, context);
}

}  // namespace

std::unique_ptr<Command> train_command() { return std::make_unique<TrainCommand>(); }

}  // namespace dsmoe::train
