#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "configs/errors.h"
#include "trainer/agreement.h"
#include "trainer/command.h"
#include "trainer/dry_run.h"
#include "trainer/show_samples.h"
#include "trainer/stop_signal.h"
#include "trainer/train_run.h"

namespace dsmoe::train {
namespace {

struct FinetuneCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  std::string config_path;
  std::vector<std::string> overrides;
  bool dry_run = false;
  int64_t show = 0;
};

Verb FinetuneCommand::verb() {
  return {"finetune",
          "train published or own weights further, on conversations or texts",
          {{"config", &config_path, "YAML file", /*required=*/true},
           {"overrides", &overrides, "key=value ... (model.init_from=DIR)"},
           {"--show", &show, "print so many samples, what is learned marked; stop", false,
            Range::kPositive},
           {"--dry-run", &dry_run, "print the resolved run, parameters, memory and traffic; stop"},
           {"--json", &json, "with --dry-run: one JSON object on stdout"}}};
}

void check_origin(const config::RunConfig& config) {
  if (!config.model.init_from.empty()) return;
  throw ConfigError(
      "model.init_from is null: fine-tuning begins from trained weights\nhint: add "
      "model.init_from=DIR, a Hugging Face directory or a step of a run; dsmoe train begins from "
      "random weights");
}

int show(const config::RunConfig& config, int64_t count, CommandContext& context) {
  const bool colour = isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
  agree(context.world, [&] {
    if (!context.first()) return;
    const auto tokenizer = data::make_tokenizer(config.data.tokenizer);
    data::Loader loader(config.data, config.run.seed);
    std::fputs(show_samples(loader, *tokenizer, count, colour).c_str(), stdout);
  });
  return 0;
}

int FinetuneCommand::run(CommandContext& context) {
  const config::RunConfig config =
      resolve_on_all(config_path, overrides, context, config::finetune_defaults());
  check_origin(config);
  if (dry_run) return show_dry_run(config, json, context);
  if (show > 0) return train::show(config, show, context);
  catch_stop_signals();
  return TrainRun(config, context).run();
}

}  // namespace

std::unique_ptr<Command> finetune_command() { return std::make_unique<FinetuneCommand>(); }

}  // namespace dsmoe::train
