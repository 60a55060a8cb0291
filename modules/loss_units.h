#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "modules/segments.h"

namespace dsmoe::nn {

/// What a balance loss is one value of: a sequence, a pool of sequences or the whole batch. A unit
/// may have pieces in other micro-batches and on other ranks.
struct LossUnits {
  Segments pieces;             ///< runs of rows here
  std::vector<int64_t> units;  ///< of each piece, below count
  int64_t count = 0;           ///< units, numbered alike wherever pieces of them are
  at::Tensor valid_N{};        ///< bool, N values; undefined: no row is padding
  /// The device group that each piece is at home in, for losses over remote rows.
  std::vector<int64_t> homes{};

  /// Each piece is a unit.
  [[nodiscard]] static LossUnits each(Segments pieces, at::Tensor valid_N = {});
};

/// Calls visit(piece, row) for every row that is not padding, in order.
template <class Visit>
void for_rows_of(const LossUnits& units, const Visit& visit) {
  const bool* const valid =
      units.valid_N.defined() ? units.valid_N.const_data_ptr<bool>() : nullptr;
  for (int64_t piece = 0; piece < units.pieces.count(); ++piece) {
    for (int64_t n = units.pieces.start(piece); n < units.pieces.start(piece + 1); ++n) {
      if (valid == nullptr || valid[n]) visit(piece, n);
    }
  }
}

/// Tokens of each unit here, int64 [U].
[[nodiscard]] at::Tensor count_tokens(const LossUnits& units);

/// Sum over the rows of each unit here, divided by its tokens_U anywhere: this part of the mean,
/// [U, X]; zero for a unit without tokens. Summed in float64, row after row, so that padding
/// changes no bit. Host memory, float32 or float64, differentiable in x. Local.
[[nodiscard]] at::Tensor share_of_mean(const at::Tensor& x_NX, const LossUnits& units,
                                       const at::Tensor& tokens_U);

}  // namespace dsmoe::nn
