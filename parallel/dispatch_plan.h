#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "parallel/communicator.h"

namespace dsmoe::parallel {

/// Who gets which token of one MoE layer's input: a value, made once per forward and used again by
/// backward and recompute. N tokens here, K choices each, R ranks in the expert group, e experts on
/// each. A pair is a kept (token, expert) choice; a row is a token's vector on its way to one rank,
/// sent once however many of its experts live there. `parallel/README.md` draws one.
struct DispatchPlan {
  // What this rank sends, grouped by rank, ascending token within a rank.
  at::Tensor row_tokens_S;          ///< int64: the token of each row
  std::vector<int64_t> sent_rows;   ///< rows to each rank, R values
  at::Tensor pair_choices_S;        ///< int64: flat index n * K + k of each pair
  std::vector<int64_t> sent_pairs;  ///< pairs to each rank
  // What this rank receives, and the order in which its experts take it.
  std::vector<int64_t> received_rows;
  std::vector<int64_t> received_pairs;
  at::Tensor pair_order_P;              ///< int64: arrival number of each pair, pairs by expert
  at::Tensor pair_rows_P;               ///< int64: the arrived row of each pair, pairs by expert
  std::vector<int64_t> expert_offsets;  ///< e + 1 values: the pairs of each local expert
  // Traffic, in rows and bytes that leave this rank in one direction.
  int64_t remote_rows = 0;  ///< the lower bound: (token, other rank) visits
  int64_t remote_pairs = 0;
  int64_t metadata_bytes = 0;  ///< counts and pair addresses sent to other ranks
  int64_t num_tokens = 0;

  [[nodiscard]] int64_t rows_received() const;
  [[nodiscard]] int64_t pairs_received() const { return expert_offsets.back(); }
};

/// Plans the exchange for the chosen experts.
/// experts_NK: int64, global expert ids; kept_NK: bool, or undefined when every choice is kept.
/// Collective over ep: two exchanges (counts; one int64 address a pair). Zero tokens are legal.
/// A group of one rank exchanges nothing, and its rows are the tokens themselves.
[[nodiscard]] DispatchPlan plan_dispatch(const at::Tensor& experts_NK, const at::Tensor& kept_NK,
                                         int64_t num_experts, Communicator& ep);

}  // namespace dsmoe::parallel
