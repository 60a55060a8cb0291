#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/command.h"
#include "trainer/commands/train_to_end.h"
#include "trainer/dry_run.h"
#include "trainer/esft.h"
#include "trainer/human.h"
#include "trainer/run_directory.h"
#include "trainer/show_samples.h"
#include "trainer/table.h"

namespace dsmoe::train {
namespace {

struct FinetuneCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  std::string config_path;
  std::vector<std::string> overrides;
  bool dry_run = false;
  bool score_only = false;
  int64_t show = 0;
};

Verb FinetuneCommand::verb() {
  return {"finetune",
          "train published or own weights further, on conversations or texts",
          {{"config", &config_path, "YAML file", /*required=*/true},
           {"overrides", &overrides, "key=value ... (model.init_from=DIR)"},
           {"--show", &show, "print so many samples, what is learned marked; stop", false,
            Range::kPositive},
           {"--score-only",
            &score_only,
            "method esft: write each layer's scores and chosen experts to the run's esft.yaml; "
            "stop",
            /*required=*/false,
            Range::kAny,
            {},
            {"--show"}},
           {"--dry-run",
            &dry_run,
            "print the resolved run, parameters, memory and traffic; stop",
            /*required=*/false,
            Range::kAny,
            {},
            {"--show", "--score-only"}},
           {"--json",
            &json,
            "one JSON object on stdout",
            /*required=*/false,
            Range::kAny,
            {},
            {"--show"}}}};
}

void check_origin(const config::RunConfig& config) {
  if (!config.model.init_from.empty()) return;
  throw ConfigError(
      "model.init_from is null: fine-tuning begins from trained weights\nhint: add "
      "model.init_from=DIR, a Hugging Face directory or a step of a run; dsmoe train begins from "
      "random weights");
}

void check_scores_experts(const config::RunConfig& config) {
  if (config.finetune.method == config::FinetuneMethod::kEsft) return;
  throw ConfigError(
      "--score-only scores experts for finetune.method esft\nhint: add finetune.method=esft");
}

std::string choice_table(const config::ExpertChoice& choice) {
  Table table;
  table.section("experts to train, of " + with_separators(choice.tokens) + " tokens scored");
  for (const auto& [layer, chosen] : choice.layers) {
    std::string experts;
    for (const int64_t e : chosen.train)
      experts += (experts.empty() ? "" : " ") + std::to_string(e);
    table.row("layer " + std::to_string(layer), experts + " (" + fixed(chosen.reached, 4) + ")");
  }
  return table.text();
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

/// Scores and writes the experts that finetune.esft.experts then takes.
int score(const config::RunConfig& config, bool json, CommandContext& context) {
  agree(context.world, [&] { check_scores_experts(config); });
  const config::ExpertChoice choice = score_experts(config, context);
  const std::string path = expert_choice_file(config);
  agree(context.world, [&] {
    if (!context.first()) return;
    make_directories(RunDirectory(config.run).root);
    write_file_atomically(path, config::write_expert_choice(choice));
  });
  context.console.info(choice_table(choice) + "\nwrote " + path +
                       "; finetune.esft.experts=" + path + " takes it");
  if (json && context.first()) {
    const nlohmann::ordered_json told = {{"experts", path}, {"tokens", choice.tokens}};
    std::fputs((told.dump(2) + "\n").c_str(), stdout);
  }
  return 0;
}

int FinetuneCommand::run(CommandContext& context) {
  const config::RunConfig config =
      resolve_on_all(config_path, overrides, context, config::finetune_defaults());
  agree(context.world, [&] { check_origin(config); });
  if (dry_run) return show_dry_run(config, json, context);
  if (show > 0) return train::show(config, show, context);
  if (score_only) return score(config, json, context);
  return train_to_end(config, json, context);
}

}  // namespace

std::unique_ptr<Command> finetune_command() { return std::make_unique<FinetuneCommand>(); }

}  // namespace dsmoe::train
