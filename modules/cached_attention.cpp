#include "modules/cached_attention.h"

#include <limits>

namespace dsmoe::nn {
namespace {

constexpr int64_t kMaxScores = int64_t{1} << 24;  // numbers of one block of scores

/// Keys after the row's own position weigh nothing. Row i stands at position first + i.
void mask_future(at::Tensor& scores_HNS, int64_t first) {
  const int64_t rows = scores_HNS.size(1);
  const int64_t keys = scores_HNS.size(2);
  if (first + 1 == keys) return;
  const auto places = at::TensorOptions(at::kLong).device(scores_HNS.device());
  const at::Tensor position_N1 = at::arange(first, first + rows, places).unsqueeze(1);
  scores_HNS.masked_fill_(at::arange(keys, places) > position_N1,
                          -std::numeric_limits<double>::infinity());
}

/// Products of matrices pair by pair. One pair alone, as MLA and MQA have it, is faster through mm.
at::Tensor multiply_pairs(const at::Tensor& left_GNX, const at::Tensor& right_GXS) {
  if (left_GNX.size(0) > 1) return at::bmm(left_GNX, right_GXS);
  return at::mm(left_GNX[0], right_GXS[0]).unsqueeze(0);
}

/// Attends from rows whose first stands at position `first`, V2 (18).
at::Tensor attend(const at::Tensor& query_HNX, const at::Tensor& keys_GSX,
                  const at::Tensor& values_GSV, int64_t first, double scale) {
  const int64_t groups = keys_GSX.size(0);
  const int64_t heads = query_HNX.size(0);
  const int64_t rows = query_HNX.size(1);
  const int64_t seen = first + rows;
  at::Tensor scores_HNS = multiply_pairs(query_HNX.reshape({groups, heads / groups * rows, -1}),
                                         keys_GSX.narrow(1, 0, seen).transpose(1, 2))
                              .mul_(scale)
                              .view({heads, rows, seen});
  mask_future(scores_HNS, first);
  const at::Tensor shares = at::softmax(scores_HNS, -1).view({groups, -1, seen});
  return multiply_pairs(shares, values_GSV.narrow(1, 0, seen)).view({heads, rows, -1});
}

}  // namespace

at::ScalarType precise_type(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

at::Tensor attend_to_cache(const at::Tensor& query_HNX, const at::Tensor& keys_GSX,
                           const at::Tensor& values_GSV, double scale) {
  const int64_t rows = query_HNX.size(1);
  const int64_t keys = keys_GSX.size(1);
  const int64_t block = std::max<int64_t>(1, kMaxScores / (query_HNX.size(0) * keys));
  std::vector<at::Tensor> blocks;
  for (int64_t begin = 0; begin < rows; begin += block) {
    const int64_t count = std::min(block, rows - begin);
    blocks.push_back(attend(query_HNX.narrow(1, begin, count), keys_GSX, values_GSV,
                            keys - rows + begin, scale));
  }
  return blocks.size() == 1 ? blocks.front() : at::cat(blocks, 1);
}

}  // namespace dsmoe::nn
