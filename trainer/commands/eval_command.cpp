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
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

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

Verb EvalCommand::verb() {
  return {"eval",
          "loss and bits per byte on held-out text",
          {{"--model", &model, "Hugging Face or step directory", /*required=*/true},
           {"--data", &data, "text, JSONL file or .bin/.idx prefix", /*required=*/true},
           {"--window", &window, "predicted tokens per window (default: as trained, or 4096)",
            /*required=*/false, Range::kPositive},
           {"--micro-sequences", &micro_sequences, "windows a rank takes at a time",
            /*required=*/false, Range::kPositive},
           json_argument(*this)}};
}

int EvalCommand::run(CommandContext& context) {
  LoadedModel loaded = open_model(model, context);
  const int64_t length = window > 0 ? window : loaded.window;
  std::unique_ptr<data::EvalSet> set;
  agree(context.world,
        [&] { set = std::make_unique<data::EvalSet>(this->data, *loaded.tokenizer, length); });
  const EvalPlan plan{set->num_windows(), micro_sequences, /*drop=*/false};
  print(evaluate(loaded.session->model, *set, plan, loaded.session->world, show_progress(context)),
        *this, context);
  return 0;
}

}  // namespace

std::unique_ptr<Command> eval_command() { return std::make_unique<EvalCommand>(); }

}  // namespace dsmoe::train
