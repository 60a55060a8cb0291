#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "modules/model.h"

namespace dsmoe::train {

struct GenerateOptions {
  int64_t max_tokens = 128;
  double temperature = 0.0;  ///< 0: the most likely token, ties to the lower id
  int64_t seed = 1;
  int64_t eos = -1;  ///< ends the text and is not returned; negative: none
};

struct Generated {
  std::vector<int64_t> token_ids;  ///< new ones only, without the final EOS
  std::string finish_reason;       ///< "stop" at EOS, else "length"
};

/// Continues `prompt` (at least one id) token by token, running the whole text each time.
/// Collective over the model's expert group: all ranks get the same ids.
[[nodiscard]] Generated generate(nn::Model& model, const std::vector<int64_t>& prompt,
                                 const GenerateOptions& options);

}  // namespace dsmoe::train
