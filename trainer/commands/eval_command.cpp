#include <cstdio>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "data/eval_set.h"
#include "trainer/agreement.h"
#include "trainer/choices.h"
#include "trainer/command.h"
#include "trainer/eval_dump.h"
#include "trainer/evaluate.h"
#include "trainer/human.h"
#include "trainer/loaded_model.h"
#include "trainer/step_line.h"

namespace dsmoe::train {
namespace {

struct EvalCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  OpenOptions open;
  std::string data;
  int64_t window = 0;
  int64_t stride = 0;
  int64_t stretch = 0;
  bool extrapolate = false;
  int64_t micro_sequences = 8;
  std::string choices;
  std::string logits_file;
  std::string gradients_file;

  [[nodiscard]] bool dumps() const { return !logits_file.empty() || !gradients_file.empty(); }
};

/// Throws ConfigError where an option is missing or asks for what is not there.
void check_options(const EvalCommand& command, int64_t ranks) {
  if (command.data.empty() && command.choices.empty()) {
    throw ConfigError("eval: nothing to score\nhint: give --data PATH or --choices FILE");
  }
  if (!command.choices.empty() &&
      (command.dumps() || command.window > 0 || command.stride > 0 || command.stretch > 0)) {
    throw ConfigError(
        "--choices scores whole questions: --window, --stride, --by-position, --dump-logits and "
        "--dump-gradients say nothing of them\nhint: leave them out, or give --data");
  }
  if (command.extrapolate && command.window == 0) {
    throw ConfigError(
        "--extrapolate lets --window exceed the model's positions, and there is none"
        "\nhint: give --window TOKENS");
  }
  if (ranks == 1 || !command.dumps()) return;
  throw ConfigError("--dump-logits and --dump-gradients run on one rank, not on " +
                    std::to_string(ranks) + "\nhint: start dsmoe without mpirun");
}

void check_window(const EvalCommand& command, int64_t window, const config::ModelConfig& model) {
  if (command.stride > window) {
    throw ConfigError("--stride (" + std::to_string(command.stride) +
                      ") is longer than the window of " + std::to_string(window) +
                      " tokens\nhint: give a shorter stride");
  }
  if (command.extrapolate || window <= model.max_position_embeddings) return;
  throw ConfigError(
      "--window (" + std::to_string(window) + ") is longer than the model's " +
      std::to_string(model.max_position_embeddings) +
      " positions (max_position_embeddings)\nhint: give a shorter window, or --extrapolate to "
      "see what the model does beyond them");
}

/// Progress on long sets: a line every tenth.
std::function<void(int64_t, int64_t)> show_progress(CommandContext& context) {
  return [&context, shown = int64_t{0}](int64_t done, int64_t of) mutable {
    if (done * 10 / of == shown || done == of) return;
    shown = done * 10 / of;
    context.console.info("scored " + with_separators(done) + " of " + with_separators(of) +
                         " windows");
  };
}

nlohmann::ordered_json to_json(const EvalReport& report) {
  nlohmann::ordered_json json = {{"loss", report.loss},
                                 {"perplexity", report.perplexity},
                                 {"bits_per_byte", report.bits_per_byte},
                                 {"tokens", report.tokens}};
  if (!report.domains.empty()) json["specialisation"] = report.specialisation;
  for (const auto& [name, domain] : report.domains) json["domains"][name] = to_json(domain);
  for (const PositionLoss& one : report.positions) {
    json["positions"].push_back(
        {{"from", one.from}, {"to", one.to}, {"loss", one.loss}, {"tokens", one.tokens}});
  }
  return json;
}

void print(const EvalReport& report, const EvalCommand& command, CommandContext& context) {
  if (!context.first()) return;
  if (command.json) {
    std::fputs((to_json(report).dump() + "\n").c_str(), stdout);
    return;
  }
  context.console.info(eval_line(command.data, report));
  for (const auto& [name, domain] : report.domains) {
    context.console.info(eval_line(command.data + " " + name, domain));
  }
  for (const PositionLoss& one : report.positions) context.console.info(position_line(one));
}

Verb EvalCommand::verb() {
  const std::vector<Argument> own{
      {"--data", &data,
       "text, JSONL (of conversations: the answers are scored) or .bin/.idx prefix"},
      {.name = "--choices",
       .target = &choices,
       .help = "JSONL of question, choices, answer: how often the likeliest choice is right",
       .excludes = {"--data"}},
      {"--window", &window, "predicted tokens per window (default: as trained, or 4096)",
       /*required=*/false, Range::kPositive},
      {"--stride", &stride, "new tokens of each further window of a document (default: the window)",
       /*required=*/false, Range::kPositive},
      {"--by-position", &stretch,
       "tell the loss by position in the window, so many tokens together",
       /*required=*/false, Range::kPositive},
      {"--extrapolate", &extrapolate, "let --window exceed the model's max_position_embeddings"},
      {"--micro-sequences", &micro_sequences, "windows a rank takes at a time",
       /*required=*/false, Range::kPositive},
      {"--dump-logits", &logits_file,
       "write `logits` [tokens, vocabulary] and `targets` [tokens], safetensors"},
      {"--dump-gradients", &gradients_file,
       "write the gradient of the mean loss under the published names, safetensors"},
      json_argument(*this)};
  return {"eval", "loss and bits per byte on held-out text", open.arguments(own)};
}

nlohmann::ordered_json to_json(const ChoiceReport& report) {
  return {{"questions", report.questions},
          {"accuracy", report.accuracy},
          {"accuracy_normalized", report.accuracy_normalized},
          {"answers", report.answers}};
}

int run_choices(const EvalCommand& command, LoadedModel& loaded, CommandContext& context) {
  std::vector<ChoiceQuestion> questions;
  agree(context.world, [&] { questions = read_choices(command.choices); });
  const ChoiceReport report =
      score_choices(loaded.session->model, *loaded.tokenizer, questions, loaded.session->world);
  if (!context.first()) return 0;
  if (command.json) {
    std::fputs((to_json(report).dump() + "\n").c_str(), stdout);
  } else {
    context.console.info("choices " + command.choices + " | accuracy " +
                         fixed(100.0 * report.accuracy, 1) + " %, by length " +
                         fixed(100.0 * report.accuracy_normalized, 1) + " % | " +
                         with_separators(report.questions) + " questions");
  }
  return 0;
}

int EvalCommand::run(CommandContext& context) {
  agree(context.world, [&] { check_options(*this, context.world.size()); });
  open.gradients = !gradients_file.empty();
  LoadedModel loaded = open_model(open, context);
  if (!choices.empty()) return run_choices(*this, loaded, context);
  const int64_t length = window > 0 ? window : loaded.window;
  std::unique_ptr<data::EvalSet> set;
  agree(context.world, [&] {
    check_window(*this, length, loaded.session->config.model);
    set = std::make_unique<data::EvalSet>(this->data, *loaded.tokenizer, length, stride);
  });
  const EvalPlan plan{set->num_windows(), micro_sequences, /*drop=*/false, stretch};
  print(evaluate(loaded.session->model, *set, plan, loaded.session->groups, show_progress(context)),
        *this, context);
  if (!logits_file.empty()) dump_logits(loaded.session->model, *set, plan, logits_file);
  if (!gradients_file.empty()) {
    dump_gradients(loaded.session->model, loaded.session->store, *set, plan, gradients_file);
  }
  return 0;
}

}  // namespace

std::unique_ptr<Command> eval_command() { return std::make_unique<EvalCommand>(); }

}  // namespace dsmoe::train
