#include "data/chat_template.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

namespace dsmoe::data {
namespace {

std::string without_blanks(std::string text) {
  text.erase(std::remove_if(text.begin(), text.end(),
                            [](unsigned char c) { return std::isspace(c) != 0; }),
             text.end());
  return text;
}

std::string turn(const Message& message, const std::string& eos_name) {
  switch (message.role) {
    case Role::kSystem:
      return message.content + "\n\n";
    case Role::kUser:
      return "User: " + message.content + "\n\n";
    case Role::kAssistant:
      break;
  }
  return "Assistant: " + message.content + eos_name;
}

}  // namespace

std::string render_chat(const std::vector<Message>& messages, const std::string& eos_name,
                        bool generation) {
  std::string text;
  for (const Message& message : messages) text += turn(message, eos_name);
  return generation ? text + "Assistant:" : text;
}

const std::string& chat_template_text() {
  static const std::string text =
      "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}"
      "{% endif %}{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
      "{{ 'User: ' + message['content'] + '\\n\\n' }}{% elif message['role'] == 'assistant' %}"
      "{{ 'Assistant: ' + message['content'] + eos_token }}"
      "{% elif message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}{% endif %}"
      "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";
  return text;
}

bool is_deepseek_template(const std::string& text) {
  return without_blanks(text) == without_blanks(chat_template_text());
}

bool names_other_template(const Tokenizer& tokenizer) {
  const auto config = nlohmann::json::parse(tokenizer.config_json(), nullptr, false);
  const auto found = config.is_object() ? config.find("chat_template") : config.end();
  if (found == config.end() || !found->is_string()) return false;
  return !is_deepseek_template(found->get<std::string>());
}

}  // namespace dsmoe::data
