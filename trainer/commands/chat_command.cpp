#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "data/chat_template.h"
#include "trainer/agreement.h"
#include "trainer/command.h"
#include "trainer/commands/sampling_arguments.h"
#include "trainer/generate.h"
#include "trainer/loaded_model.h"
#include "trainer/text_stream.h"

namespace dsmoe::train {
namespace {

struct ChatCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  OpenOptions open;
  std::string system;
  std::string chat_template;
  GenerateOptions options{.max_tokens = 512, .sampling = {.temperature = 0.3, .top_p = 0.95}};
};

/// Whether the program talks with a person rather than with a file.
bool at_terminal() { return isatty(STDIN_FILENO) != 0; }

void say(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

/// A conversation whose latents stay: each turn feeds only what is new.
class Conversation {
 public:
  Conversation(const ChatCommand& command, LoadedModel& loaded, CommandContext& context)
      : command_(command),
        loaded_(loaded),
        context_(context),
        cache_(loaded.session->model->config(), loaded.session->model->dtype(),
               loaded.session->model->device()) {}

  /// The answer, shown as it grows where that is asked.
  std::string answer(const std::string& user, bool shown) {
    add_turn(user);
    agree(context_.world, [&] { check_length(); });
    const auto held = static_cast<size_t>(fed_);
    const Prompt prompt{{ids_.begin() + static_cast<int64_t>(held), ids_.end()}, &cache_};
    TextStream stream(*loaded_.tokenizer, {});
    const auto results = generate(loaded_.session->model, loaded_.session->world, {prompt},
                                  command_.options, [&](int64_t, int64_t id) {
                                    const std::string text = stream.push(id);
                                    if (shown) say(text);
                                    return true;
                                  });
    if (shown) say(stream.finish() + "\n");
    return keep(results.front());
  }

 private:
  void add_turn(const std::string& user) {
    std::vector<data::Message> messages;
    if (ids_.empty() && !command_.system.empty()) {
      messages.push_back({data::Role::kSystem, command_.system});
    }
    messages.push_back({data::Role::kUser, user});
    const data::Tokenizer& tokenizer = *loaded_.tokenizer;
    const int64_t before = ids_.empty() ? tokenizer.bos() : tokenizer.eos();
    if (before >= 0) ids_.push_back(before);
    for (const int64_t id : tokenizer.encode(data::render_chat(messages, "", true))) {
      ids_.push_back(id);
    }
  }

  void check_length() const {
    const int64_t positions = loaded_.session->config.model.max_position_embeddings;
    if (static_cast<int64_t>(ids_.size()) < positions) return;
    throw ConfigError("chat: the conversation's " + std::to_string(ids_.size()) +
                      " tokens leave no room in the model's " + std::to_string(positions) +
                      " positions (max_position_embeddings)\nhint: start a new conversation");
  }

  /// The last new token is not in the cache: it is fed with the next turn.
  std::string keep(const Generated& generated) {
    const auto asked = static_cast<int64_t>(ids_.size());
    const auto added = static_cast<int64_t>(generated.token_ids.size());
    ids_.insert(ids_.end(), generated.token_ids.begin(), generated.token_ids.end());
    fed_ =
        generated.finish_reason == "stop" ? asked + added : asked + std::max<int64_t>(0, added - 1);
    return loaded_.tokenizer->decode(generated.token_ids);
  }

  const ChatCommand& command_;
  LoadedModel& loaded_;
  CommandContext& context_;
  nn::KeyValueCache cache_;  ///< used on rank 0
  std::vector<int64_t> ids_;
  int64_t fed_ = 0;
};

/// The next line of the user, the same on all ranks; false at the end.
bool next_line(std::string& line, CommandContext& context) {
  std::string packed;  // an end is empty, a line has a mark before it
  if (context.first()) {
    if (at_terminal()) say("> ");
    if (std::getline(std::cin, line)) packed = "+" + line;
  }
  broadcast_text(packed, context.world);
  if (packed.empty()) return false;
  line = packed.substr(1);
  return true;
}

/// A model whose directory names another template is not guessed at.
void check_template(const ChatCommand& command, const LoadedModel& loaded) {
  if (!command.chat_template.empty() || !data::names_other_template(*loaded.tokenizer)) return;
  throw ConfigError(loaded.directory +
                    "/tokenizer_config.json: its chat_template is not DeepSeek-V2's, the only one "
                    "that chat speaks\nhint: --template deepseek_v2 uses that all the same");
}

Verb ChatCommand::verb() {
  const std::vector<Argument> own{
      {"--system", &system, "a text before the first turn"},
      {.name = "--template",
       .target = &chat_template,
       .help = "deepseek_v2, whatever the model's directory says",
       .one_of = {"deepseek_v2"}},
      {"--max-tokens", &options.max_tokens, "of an answer", /*required=*/false, Range::kPositive},
      {"--json", &json, "one JSON object with all turns, at the end of the input"}};
  return {"chat", "talk with a model, a line a turn",
          open.arguments(sampling_arguments(options.sampling, own))};
}

int ChatCommand::run(CommandContext& context) {
  LoadedModel loaded = open_model(open, context);
  agree(context.world, [&] { check_template(*this, loaded); });
  options.eos = loaded.session->config.model.eos_token_id;
  Conversation conversation(*this, loaded, context);
  nlohmann::ordered_json turns = nlohmann::ordered_json::array();
  for (std::string line; next_line(line, context);) {
    const std::string answer = conversation.answer(line, context.first() && !json);
    turns.push_back({{"user", line}, {"assistant", answer}});
  }
  if (context.first() && json) {
    const auto replace = nlohmann::ordered_json::error_handler_t::replace;
    say(nlohmann::ordered_json{{"turns", turns}}.dump(-1, ' ', false, replace) + "\n");
  }
  return 0;
}

}  // namespace

std::unique_ptr<Command> chat_command() { return std::make_unique<ChatCommand>(); }

}  // namespace dsmoe::train
