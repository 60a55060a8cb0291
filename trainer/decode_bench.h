#pragma once

#include <cstdint>
#include <vector>

#include "configs/run_config.h"
#include "trainer/command.h"

namespace dsmoe::train {

/// One more token of one text after `context` others.
struct DecodeTime {
  int64_t context = 0;
  double seconds = 0;       ///< the fastest of the repetitions
  int64_t cache_bytes = 0;  ///< latents read for it
};

/// Decodes single tokens over caches of random latents, one per context length. The model's
/// positions must reach that far: throws ConfigError. Collective.
[[nodiscard]] std::vector<DecodeTime> bench_decode(const config::RunConfig& config,
                                                   const std::vector<int64_t>& contexts,
                                                   int64_t repetitions, CommandContext& context);

}  // namespace dsmoe::train
