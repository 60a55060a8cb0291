#pragma once

#include <vector>

#include "trainer/arguments.h"
#include "trainer/sampler.h"

namespace dsmoe::train {

/// `--temperature`, `--top-k`, `--top-p` and `--seed`, and behind them those of the verb.
[[nodiscard]] inline std::vector<Argument> sampling_arguments(SamplingOptions& sampling,
                                                              const std::vector<Argument>& others) {
  std::vector<Argument> all{
      {"--temperature", &sampling.temperature, "0: the most likely token", /*required=*/false,
       Range::kNonNegative},
      {"--top-k", &sampling.top_k, "only the k most likely; 0: all", /*required=*/false,
       Range::kNonNegative},
      {"--top-p", &sampling.top_p, "only the most likely that reach p together",
       /*required=*/false, Range::kPositive},
      {"--seed", &sampling.seed, "of the sampling"}};
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

}  // namespace dsmoe::train
