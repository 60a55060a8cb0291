#include "data/stream_decoder.h"

#include <utility>

#include "data/utf8.h"

namespace dsmoe::data {

std::string StreamDecoder::push(int64_t id) {
  held_ += tokenizer_.decode({id});
  std::string_view rest = held_;
  std::string text;
  while (!rest.empty()) {
    const Utf8Step step = utf8_step(rest);
    if (step.kind == Utf8Step::Kind::kTruncated) break;
    text += step.kind == Utf8Step::Kind::kCharacter ? rest.substr(0, step.length) : kReplacement;
    rest.remove_prefix(step.length);
  }
  held_ = std::string(rest);
  return text;
}

std::string StreamDecoder::flush() { return to_utf8(std::exchange(held_, {})); }

}  // namespace dsmoe::data
