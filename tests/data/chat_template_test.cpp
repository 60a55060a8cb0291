#include "data/chat_template.h"

#include "tests/support/catch.h"

namespace {

using dsmoe::data::Message;
using dsmoe::data::render_chat;
using dsmoe::data::Role;

const std::vector<Message> kTalk{{Role::kSystem, "Be brief."},
                                 {Role::kUser, "Hi"},
                                 {Role::kAssistant, "Hello."},
                                 {Role::kUser, "Bye"}};

TEST_CASE("a conversation reads as DeepSeek-V2's template has it") {
  CHECK(render_chat(kTalk, "</s>", false) ==
        "Be brief.\n\nUser: Hi\n\nAssistant: Hello.</s>User: Bye\n\n");
  CHECK(render_chat(kTalk, "</s>", true) ==
        "Be brief.\n\nUser: Hi\n\nAssistant: Hello.</s>User: Bye\n\nAssistant:");
  CHECK(render_chat({}, "</s>", true) == "Assistant:");
}

TEST_CASE("the template is known by its text, whatever its blanks") {
  CHECK(dsmoe::data::is_deepseek_template(dsmoe::data::chat_template_text()));
  CHECK(dsmoe::data::is_deepseek_template(dsmoe::data::chat_template_text() + "\n"));
  CHECK_FALSE(dsmoe::data::is_deepseek_template("{{ messages }}"));
}

}  // namespace
