#pragma once

#include <string>
#include <vector>

#include "data/conversation.h"
#include "data/tokenizer.h"

namespace dsmoe::data {

/// DeepSeek-V2's conversation as text, without the BOS before it: a system text and each user turn
/// end with an empty line, an assistant turn with the name of the EOS token; with `generation` the
/// assistant's next turn is opened.
///
///     {system}\n\nUser: {user}\n\nAssistant: {assistant}<EOS>User: {user}\n\nAssistant:
[[nodiscard]] std::string render_chat(const std::vector<Message>& messages,
                                      const std::string& eos_name, bool generation);

/// The same template as the Jinja text that tokenizer_config.json carries.
[[nodiscard]] const std::string& chat_template_text();

/// Whether a tokenizer_config.json's template is that one; blanks do not count.
[[nodiscard]] bool is_deepseek_template(const std::string& text);

/// Whether the tokenizer_config.json of a tokenizer holds a chat_template that is another one.
[[nodiscard]] bool names_other_template(const Tokenizer& tokenizer);

}  // namespace dsmoe::data
