#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "trainer/agreement.h"
#include "trainer/command.h"
#include "trainer/generate.h"
#include "trainer/loaded_model.h"

namespace dsmoe::train {
namespace {

struct GenerateCommand final : Command {
  std::string model;
  std::string prompt;
  std::vector<int64_t> token_ids;
  GenerateOptions options;
};

std::vector<int64_t> prompt_ids(const GenerateCommand& command, const LoadedModel& loaded) {
  if (!command.token_ids.empty()) return command.token_ids;
  std::vector<int64_t> ids{loaded.tokenizer->bos()};
  for (const int64_t id : loaded.tokenizer->encode(command.prompt)) ids.push_back(id);
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
    std::fputs((command.prompt + text + "\n").c_str(), stdout);
    return;
  }
  const nlohmann::ordered_json json = {{"text", text},
                                       {"token_ids", generated.token_ids},
                                       {"finish_reason", generated.finish_reason}};
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  std::fputs((json.dump(-1, ' ', false, replace) + "\n").c_str(), stdout);
}

int run_generate(GenerateCommand& command, CommandContext& context) {
  LoadedModel loaded = open_model(command.model, context);
  const auto ids = prompt_ids(command, loaded);
  agree(context.world, [&] { check_ids(ids, loaded.session->config.model.vocab_size); });
  command.options.eos = loaded.session->config.model.eos_token_id;
  print(generate(loaded.session->model, ids, command.options), command, loaded, context);
  return 0;
}

}  // namespace

std::shared_ptr<Command> add_generate(CLI::App& program) {
  auto command = std::make_shared<GenerateCommand>();
  command->app = program.add_subcommand("generate", "continue a text");
  auto* app = command->app;
  app->add_option("--model", command->model, "Hugging Face or step directory")->required();
  auto* prompt = app->add_option("--prompt", command->prompt, "text; BOS is put before it");
  auto* ids = app->add_option("--token-ids", command->token_ids, "ids, used as given: 1,2,3")
                  ->delimiter(',');
  prompt->excludes(ids);
  app->add_option("--max-tokens", command->options.max_tokens, "new tokens at most")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--temperature", command->options.temperature, "0: the most likely token")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--seed", command->options.seed, "of the sampling");
  app->add_flag("--json", command->json, "one JSON object on stdout");
  GenerateCommand* raw = command.get();
  command->run = [raw, prompt, ids](CommandContext& context) {
    agree(context.world, [&] {
      if (prompt->count() + ids->count() > 0) return;
      throw ConfigError("generate: nothing to continue\nhint: give --prompt TEXT or --token-ids");
    });
    return run_generate(*raw, context);
  };
  return command;
}

}  // namespace dsmoe::train
