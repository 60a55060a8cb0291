#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "data/eval_set.h"
#include "trainer/agreement.h"
#include "trainer/command.h"
#include "trainer/evaluate.h"
#include "trainer/human.h"
#include "trainer/loaded_model.h"
#include "trainer/step_line.h"

namespace dsmoe::train {
namespace {

struct EvalCommand final : Command {
  std::string model;
  std::string data;
  int64_t window = 0;
  int64_t micro_sequences = 8;
};

/// Progress on long sets: a line every tenth.
std::function<void(int64_t, int64_t)> show_progress(CommandContext& context) {
  return [&context, shown = int64_t{0}](int64_t done, int64_t of) mutable {
    if (done * 10 / of == shown || done == of) return;
    shown = done * 10 / of;
    context.console.info("scored " + with_separators(done) + " of " + with_separators(of) +
                         " windows");
  };
}

void print(const EvalReport& report, const EvalCommand& command, CommandContext& context) {
  if (!context.first()) return;
  if (!command.json) {
    context.console.info(eval_line(command.data, report));
    return;
  }
  const nlohmann::ordered_json json = {{"loss", report.loss},
                                       {"perplexity", report.perplexity},
                                       {"bits_per_byte", report.bits_per_byte},
                                       {"tokens", report.tokens}};
  std::fputs((json.dump() + "\n").c_str(), stdout);
}

int run_eval(const EvalCommand& command, CommandContext& context) {
  LoadedModel loaded = open_model(command.model, context);
  const int64_t window = command.window > 0 ? command.window : loaded.window;
  std::unique_ptr<data::EvalSet> set;
  agree(context.world,
        [&] { set = std::make_unique<data::EvalSet>(command.data, *loaded.tokenizer, window); });
  const EvalPlan plan{set->num_windows(), command.micro_sequences, /*drop=*/false};
  print(evaluate(loaded.session->model, *set, plan, loaded.session->world, show_progress(context)),
        command, context);
  return 0;
}

}  // namespace

std::shared_ptr<Command> add_eval(CLI::App& program) {
  auto command = std::make_shared<EvalCommand>();
  command->app = program.add_subcommand("eval", "loss and bits per byte on held-out text");
  command->app->add_option("--model", command->model, "Hugging Face or step directory")->required();
  command->app->add_option("--data", command->data, "text or JSONL file")->required();
  command->app
      ->add_option("--window", command->window,
                   "predicted tokens per window (default: as trained, or 4096)")
      ->check(CLI::PositiveNumber);
  command->app
      ->add_option("--micro-sequences", command->micro_sequences, "windows a rank takes at a time")
      ->check(CLI::PositiveNumber);
  command->app->add_flag("--json", command->json, "one JSON object on stdout");
  EvalCommand* raw = command.get();
  command->run = [raw](CommandContext& context) { return run_eval(*raw, context); };
  return command;
}

}  // namespace dsmoe::train
