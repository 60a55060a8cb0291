#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "configs/errors.h"
#include "configs/text_file.h"
#include "trainer/agreement.h"
#include "trainer/command.h"
#include "trainer/commands/sampling_arguments.h"
#include "trainer/generate.h"
#include "trainer/loaded_model.h"
#include "trainer/text_stream.h"

namespace dsmoe::train {
namespace {

struct GenerateCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  OpenOptions open;
  std::optional<std::string> prompt;
  std::string prompts_file;
  std::vector<int64_t> token_ids;
  GenerateOptions options;
  std::vector<std::string> stops;
};

/// One text to go on from: what the user wrote, and its ids.
struct Request {
  std::string text;
  std::vector<int64_t> ids;
};

Request encode(const std::string& text, const data::Tokenizer& tokenizer) {
  Request prompt{text, {}};
  if (tokenizer.bos() >= 0) prompt.ids.push_back(tokenizer.bos());
  for (const int64_t id : tokenizer.encode(text)) prompt.ids.push_back(id);
  return prompt;
}

/// Each line of a file is a prompt; empty lines are not.
std::vector<Request> read_prompts(const std::string& path, const data::Tokenizer& tokenizer) {
  std::istringstream lines(config::read_text_file(path));
  std::vector<Request> prompts;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) prompts.push_back(encode(line, tokenizer));
  }
  if (prompts.empty()) throw DataError(path + ": no prompt in it\nhint: one prompt a line");
  return prompts;
}

std::vector<Request> prompts_of(const GenerateCommand& command, const data::Tokenizer& tokenizer) {
  if (!command.token_ids.empty()) return {{"", command.token_ids}};
  if (!command.prompts_file.empty()) return read_prompts(command.prompts_file, tokenizer);
  return {encode(command.prompt.value_or(""), tokenizer)};
}

/// Throws ConfigError without anything to go on from.
void check_given(const GenerateCommand& command) {
  for (const std::string& stop : command.stops) {
    if (stop.empty()) throw ConfigError("--stop: an empty text\nhint: leave the option out");
  }
  if (command.prompt || !command.token_ids.empty() || !command.prompts_file.empty()) return;
  throw ConfigError(
      "generate: nothing to continue\nhint: give --prompt TEXT, --prompts FILE or --token-ids");
}

void check_prompt(const Request& prompt, const config::ModelConfig& model) {
  for (const int64_t id : prompt.ids) {
    if (id >= 0 && id < model.vocab_size) continue;
    throw ConfigError("--token-ids: " + std::to_string(id) + " is not in the vocabulary of " +
                      std::to_string(model.vocab_size) + "\nhint: ids count from 0");
  }
  const auto length = static_cast<int64_t>(prompt.ids.size());
  if (length < model.max_position_embeddings) return;
  throw ConfigError("generate: the prompt's " + std::to_string(length) +
                    " tokens leave no room in the model's " +
                    std::to_string(model.max_position_embeddings) +
                    " positions (max_position_embeddings)\nhint: shorten the prompt");
}

nlohmann::ordered_json to_json(const Generated& generated, const std::string& text) {
  return {{"text", text},
          {"token_ids", generated.token_ids},
          {"finish_reason", generated.finish_reason},
          {"cache_bytes", generated.cache_bytes}};
}

/// One prompt gives one object; a file of them a list under `results`.
void print_json(const std::vector<Generated>& results, const std::vector<std::string>& texts,
                bool list) {
  nlohmann::ordered_json json;
  for (size_t i = 0; i < results.size(); ++i) {
    if (list) {
      json["results"].push_back(to_json(results[i], texts[i]));
    } else {
      json = to_json(results[i], texts[i]);
    }
  }
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  std::fputs((json.dump(-1, ' ', false, replace) + "\n").c_str(), stdout);
}

/// The text of new tokens, up to a stop string.
std::string text_of(const Generated& generated, const GenerateCommand& command,
                    const data::Tokenizer& tokenizer) {
  TextStream stream(tokenizer, command.stops);
  for (const int64_t id : generated.token_ids) (void)stream.push(id);
  (void)stream.finish();
  return stream.text();
}

void print(const std::vector<Generated>& results, const std::vector<Request>& prompts,
           const GenerateCommand& command, const data::Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  for (const Generated& result : results) texts.push_back(text_of(result, command, tokenizer));
  if (command.json) return print_json(results, texts, !command.prompts_file.empty());
  for (size_t i = 0; i < texts.size(); ++i) {
    std::fputs((prompts[i].text + texts[i] + "\n").c_str(), stdout);
  }
}

/// Watches for stop strings; the only prompt of a terminal is also shown as it grows.
class Watcher {
 public:
  Watcher(const GenerateCommand& command, const std::vector<Request>& prompts,
          const data::Tokenizer& tokenizer, bool shown)
      : show_(shown) {
    for (size_t i = 0; i < prompts.size(); ++i) streams_.emplace_back(tokenizer, command.stops);
    if (show_) show(prompts.front().text);
  }

  bool take(int64_t index, int64_t id) {
    TextStream& stream = streams_[static_cast<size_t>(index)];
    const std::string text = stream.push(id);
    if (show_) show(text);
    return !stream.stopped();
  }

  void finish() {
    if (show_) show(streams_.front().finish() + "\n");
  }

 private:
  static void show(const std::string& text) {
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  }

  bool show_;
  std::vector<TextStream> streams_;
};

Verb GenerateCommand::verb() {
  const std::vector<Argument> own{{"--prompt", &prompt, "text; BOS is put before it"},
                                  {.name = "--prompts",
                                   .target = &prompts_file,
                                   .help = "file with a prompt a line; they run as one batch",
                                   .excludes = {"--prompt"}},
                                  {.name = "--token-ids",
                                   .target = &token_ids,
                                   .help = "ids, used as given: 1,2,3",
                                   .excludes = {"--prompt", "--prompts"}},
                                  {"--max-tokens", &options.max_tokens, "new tokens at most",
                                   /*required=*/false, Range::kNonNegative},
                                  {"--stop", &stops, "texts that end the answer and are left out"},
                                  json_argument(*this)};
  return {"generate", "continue a text", open.arguments(sampling_arguments(options.sampling, own))};
}

int GenerateCommand::run(CommandContext& context) {
  agree(context.world, [&] { check_given(*this); });
  LoadedModel loaded = open_model(open, context);
  std::vector<Request> prompts;
  agree(context.world, [&] {
    prompts = prompts_of(*this, *loaded.tokenizer);
    for (const Request& p : prompts) check_prompt(p, loaded.session->config.model);
  });
  std::vector<Prompt> ids;
  for (const Request& p : prompts) ids.push_back({p.ids, nullptr});
  options.eos = loaded.session->config.model.eos_token_id;
  const bool streams =
      context.first() && !json && prompts.size() == 1 && isatty(STDOUT_FILENO) != 0;
  Watcher watcher(*this, prompts, *loaded.tokenizer, streams);
  const auto results = generate(loaded.session->model, loaded.session->world, ids, options,
                                [&](int64_t index, int64_t id) { return watcher.take(index, id); });
  watcher.finish();
  if (context.first() && !streams) print(results, prompts, *this, *loaded.tokenizer);
  return 0;
}

}  // namespace

std::unique_ptr<Command> generate_command() { return std::make_unique<GenerateCommand>(); }

}  // namespace dsmoe::train
