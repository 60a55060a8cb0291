#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/conversation.h"
#include "data/tokenizer.h"

namespace dsmoe::data {

/// A sample as tokens, and what each of them counts as a target (the first is none).
struct TokenSample {
  std::vector<int64_t> tokens;
  std::vector<float> weights;
  std::string domain{};
};

/// DeepSeek-V2's template around a conversation, BOS before it and EOS behind every answer; an
/// answer's tokens and its EOS carry its weight, all others 0. What stands before an answer is
/// encoded by itself, as generation will see it. Segments are encoded one by one, and nothing is
/// added to them; a document is BOS text EOS, of weight 1. What follows the last answer is left
/// out.
[[nodiscard]] TokenSample encode_sample(const SampleRow& row, const Tokenizer& tokenizer);

}  // namespace dsmoe::data
