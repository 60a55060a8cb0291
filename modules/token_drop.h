#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "configs/model_config.h"
#include "configs/run_config.h"
#include "modules/router.h"
#include "modules/sequence_info.h"
#include "parallel/communicator.h"

namespace dsmoe::nn {

/// The routed pairs of some tokens, in global token order. Plain arrays of n and n * K values.
struct RoutedPairs {
  int64_t tokens = 0;
  std::vector<int64_t> pools;      ///< per token
  std::vector<char> protected_;    ///< per token
  std::vector<char> valid;         ///< per token; padding takes no budget and is never kept
  std::vector<int64_t> experts;    ///< per pair
  std::vector<double> affinities;  ///< per pair
};

/// Dropping by device groups, V2 section 2.2.4, or by experts: within each pool, a group keeps at
/// most ceil(capacity * K * N_pool / D) pairs, an expert ceil(capacity * K * N_pool / E): protected
/// ones first (they may exceed the budget), then by affinity (drop.by affinity), then lower token,
/// then lower expert. Returns one flag a pair, 1: kept. Pure.
[[nodiscard]] std::vector<char> keep_within_budget(const RoutedPairs& pairs,
                                                   const config::DropConfig& drop,
                                                   const config::ModelConfig& config);

/// Decides the drops of one MoE layer for this rank's tokens.
class TokenDropper {
 public:
  /// ep must outlive the dropper.
  TokenDropper(const config::ModelConfig& model, const config::DropConfig& drop,
               const config::BatchConfig& batch, parallel::Communicator& ep);

  /// Returns kept_NK (bool), undefined when dropping is off and nothing is padding. A pool that can
  /// span ranks is decided on all-gathered pairs: then Collective over ep, else Local.
  [[nodiscard]] at::Tensor keep(const Routing& routing, const SequenceInfo& sequences,
                                bool dropping) const;

  /// Bytes that one `keep` sends to other ranks; 0 where pools lie on one rank.
  [[nodiscard]] int64_t gathered_bytes(int64_t sequence_length) const;

 private:
  [[nodiscard]] std::vector<char> keep_across_ranks(const RoutedPairs& own,
                                                    int64_t sequence_length) const;

  config::ModelConfig model_;
  config::DropConfig drop_;
  int64_t micro_sequences_;
  bool pools_span_ranks_;
  parallel::Communicator& ep_;
};

}  // namespace dsmoe::nn
