#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dsmoe::data {

/// A target that carries no loss.
inline constexpr int64_t kNoTarget = -100;

/// Some sequences of equal length. B sequences, T positions; B = 0 is a legal, empty batch.
struct TokenBatch {
  at::Tensor inputs_BT;   ///< int64; positions after a sequence's end hold any valid id
  at::Tensor targets_BT;  ///< int64, the token after each input; kNoTarget: no loss there
  at::Tensor valid_BT;    ///< bool, false on padding; undefined: no padding
  std::vector<int64_t> sequence_numbers;  ///< global number of each sequence, B values
  std::vector<int64_t> sources{};         ///< of data.train, of each sequence; empty: not known
  /// Where a piece of a document begins among the B * T inputs, ascending, from 0, every multiple
  /// of T among them; empty: each sequence is one piece. See data.document_mask.
  std::vector<int64_t> document_starts{};
  at::Tensor weights_BT{};  ///< float32, what each target counts; undefined: all of them 1
};

}  // namespace dsmoe::data
