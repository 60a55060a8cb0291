#include "data/token_sample.h"

#include "data/chat_template.h"

namespace dsmoe::data {
namespace {

class Encoder {
 public:
  explicit Encoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void text(const std::string& text, double weight) {
    for (const int64_t id : tokenizer_.encode(text)) token(id, weight);
  }
  /// A special token; -1: the tokenizer has none.
  void token(int64_t id, double weight) {
    if (id < 0) return;
    sample_.tokens.push_back(id);
    sample_.weights.push_back(static_cast<float>(weight));
  }
  TokenSample finish(const std::string& domain) {
    if (!sample_.weights.empty()) sample_.weights.front() = 0;  // nothing predicts it
    sample_.domain = domain;
    return std::move(sample_);
  }

 private:
  const Tokenizer& tokenizer_;
  TokenSample sample_;
};

void add_conversation(Encoder& out, const std::vector<Message>& messages,
                      const Tokenizer& tokenizer) {
  out.token(tokenizer.bos(), 0);
  std::vector<Message> asked;
  for (const Message& message : messages) {
    if (message.role != Role::kAssistant) {
      asked.push_back(message);
      continue;
    }
    out.text(render_chat(asked, "", /*generation=*/true), 0);
    out.text(" " + message.content, message.weight);
    out.token(tokenizer.eos(), message.weight);
    asked.clear();
  }
}

}  // namespace

TokenSample encode_sample(const SampleRow& row, const Tokenizer& tokenizer) {
  Encoder out(tokenizer);
  if (const auto* messages = std::get_if<std::vector<Message>>(&row.content)) {
    add_conversation(out, *messages, tokenizer);
  } else if (const auto* segments = std::get_if<std::vector<Segment>>(&row.content)) {
    for (const Segment& segment : *segments) out.text(segment.text, segment.weight);
  } else {
    out.token(tokenizer.bos(), 0);
    out.text(std::get<std::string>(row.content), 1);
    out.token(tokenizer.eos(), 1);
  }
  return out.finish(row.domain);
}

}  // namespace dsmoe::data
