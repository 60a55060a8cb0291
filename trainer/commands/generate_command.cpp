#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "configs/errors.h"
#include "trainer/agreement.h"
#include "trainer/command.h"
#include "trainer/generate.h"
#include "trainer/loaded_model.h"

namespace dsmoe::train {
namespace {

struct GenerateCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  std::string model;
  std::optional<std::string> prompt;
  std::vector<int64_t> token_ids;
  GenerateOptions options;
};

std::vector<int64_t> prompt_ids(const GenerateCommand& command, const LoadedModel& loaded) {
  if (!command.token_ids.empty()) return command.token_ids;
  std::vector<int64_t> ids{loaded.tokenizer->bos()};
  for (const int64_t id : loaded.tokenizer->encode(command.prompt.value_or(""))) ids.push_back(id);
  return ids;
}

void check_ids(const std::vector<int64_t>& ids, int64_t vocab_size) {
  for (const int64_t id : ids) {
    if (id >= 0 && id < vocab_size) continue;
    throw ConfigError("--token-ids: " + std::to_string(id) + " is not in the vocabulary of " +
                      std::to_string(vocab_size) + "\nhint: ids count from 0");
  }
}

void print(const Generated& generated, const GenerateCommand& command, const LoadedModel& loaded,
           CommandContext& context) {
  if (!context.first()) return;
  const std::string text = loaded.tokenizer->decode(generated.token_ids);
  if (!command.json) {
    std::fputs((command.prompt.value_or("") + text + "\n").c_str(), stdout);
    return;
  }
  const nlohmann::ordered_json json = {{"text", text},
                                       {"token_ids", generated.token_ids},
                                       {"finish_reason", generated.finish_reason}};
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  std::fputs((json.dump(-1, ' ', false, replace) + "\n").c_str(), stdout);
}

/// Throws ConfigError without anything to go on from.
void check_given(const GenerateCommand& command) {
  if (command.prompt || !command.token_ids.empty()) return;
  throw ConfigError("generate: nothing to continue\nhint: give --prompt TEXT or --token-ids");
}

Verb GenerateCommand::verb() {
  return {"generate",
          "continue a text",
          {{"--model", &model, "Hugging Face or step directory", /*required=*/true},
           {"--prompt", &prompt, "text; BOS is put before it"},
           {.name = "--token-ids",
            .target = &token_ids,
            .help = "ids, used as given: 1,2,3",
            .excludes = "--prompt"},
           {"--max-tokens", &options.max_tokens, "new tokens at most", /*required=*/false,
            Range::kNonNegative},
           {"--temperature", &options.temperature, "0: the most likely token", /*required=*/false,
            Range::kNonNegative},
           {"--seed", &options.seed, "of the sampling"},
           json_argument(*this)}};
}

int GenerateCommand::run(CommandContext& context) {
  agree(context.world, [&] { check_given(*this); });
  LoadedModel loaded = open_model(model, context);
  const auto ids = prompt_ids(*this, loaded);
  agree(context.world, [&] { check_ids(ids, loaded.session->config.model.vocab_size); });
  options.eos = loaded.session->config.model.eos_token_id;
  print(generate(loaded.session->model, ids, options), *this, loaded, context);
  return 0;
}

}  // namespace

std::unique_ptr<Command> generate_command() { return std::make_unique<GenerateCommand>(); }

}  // namespace dsmoe::train
