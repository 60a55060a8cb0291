#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "modules/key_value_cache.h"
#include "modules/model.h"
#include "parallel/communicator.h"
#include "trainer/sampler.h"

namespace dsmoe::train {

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplingOptions sampling;
  int64_t eos = -1;  ///< ends the text and is not returned; negative: none
};

/// What a text goes on from.
struct Prompt {
  std::vector<int64_t> ids;            ///< at least one
  nn::KeyValueCache* cache = nullptr;  ///< of the tokens before `ids`; null: there are none
};

struct Generated {
  std::vector<int64_t> token_ids;  ///< new ones only, without the final EOS
  std::string finish_reason;       ///< "stop" at EOS or where the sink said so, else "length"
  int64_t cache_bytes = 0;         ///< of the latents held when it ended
};

/// Is told each new token of prompt `index` on the rank that runs it; false ends that text.
using TokenSink = std::function<bool(int64_t index, int64_t token)>;

/// Continues each prompt: the prompts are read in one pass, then every step
/// adds one token to each, over caches of latents. Prompts are dealt out over the ranks; those
/// without one lend their experts. A text also ends at the model's last position. Prompt i runs on
/// rank i mod size, where alone its cache is used; afterwards that holds all but the last new
/// token. Collective over the expert group `world`: all ranks get the same results.
[[nodiscard]] std::vector<Generated> generate(nn::Model& model, parallel::Communicator& world,
                                              const std::vector<Prompt>& prompts,
                                              const GenerateOptions& options,
                                              const TokenSink& sink = {});

}  // namespace dsmoe::train
