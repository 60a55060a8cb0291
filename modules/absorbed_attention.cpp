#include "modules/absorbed_attention.h"

#include <limits>

#include "modules/rope.h"

namespace dsmoe::nn {
namespace {

constexpr int64_t kMaxScores = int64_t{1} << 24;  // numbers of one block of scores

at::ScalarType precise(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// Keys after the row's own position weigh nothing. scores: [H, n, S], row i at position first + i.
void mask_future(at::Tensor& scores_HNS, int64_t first) {
  const int64_t rows = scores_HNS.size(1);
  const int64_t keys = scores_HNS.size(2);
  if (first + 1 == keys) return;
  const at::Tensor position_N1 = at::arange(first, first + rows).unsqueeze(1);
  scores_HNS.masked_fill_(at::arange(keys) > position_N1, -std::numeric_limits<double>::infinity());
}

/// Attends from rows whose first stands at position `first`: weighted latents, [H, n, C].
at::Tensor attend(const at::Tensor& query_HNX, const at::Tensor& cache_SX, int64_t first,
                  int64_t latent, double scale) {
  const int64_t heads = query_HNX.size(0);
  const int64_t rows = query_HNX.size(1);
  const at::Tensor seen_SX = cache_SX.narrow(0, 0, first + rows);
  at::Tensor scores_HNS = at::mm(query_HNX.reshape({heads * rows, -1}), seen_SX.t())
                              .mul_(scale)
                              .view({heads, rows, first + rows});
  mask_future(scores_HNS, first);
  const at::Tensor shares = at::softmax(scores_HNS, -1).view({heads * rows, -1});
  return at::mm(shares, seen_SX.narrow(1, 0, latent)).view({heads, rows, latent});
}

/// All rows of one sequence, so many at a time that the scores stay small.
at::Tensor attend_sequence(const at::Tensor& query_HNX, const CachedSequence& sequence,
                           int64_t latent, double scale) {
  const int64_t keys = sequence.cache_SX.size(0);
  const int64_t block = std::max<int64_t>(1, kMaxScores / (query_HNX.size(0) * keys));
  const at::Tensor cache_SX = sequence.cache_SX.to(query_HNX.scalar_type());
  std::vector<at::Tensor> blocks;
  for (int64_t begin = 0; begin < sequence.rows; begin += block) {
    const int64_t count = std::min(block, sequence.rows - begin);
    blocks.push_back(attend(query_HNX.narrow(1, begin, count), cache_SX,
                            keys - sequence.rows + begin, latent, scale));
  }
  return blocks.size() == 1 ? blocks.front() : at::cat(blocks, 1);
}

}  // namespace

at::Tensor absorbed_attention(const at::Tensor& q_NX, std::span<const CachedSequence> sequences,
                              const at::Tensor& kv_b_proj, const config::ModelConfig& config) {
  const int64_t heads = config.num_attention_heads;
  const int64_t nope = config.qk_nope_head_dim;
  const auto type = precise(q_NX);
  const at::Tensor up_HXC = kv_b_proj.view({heads, nope + config.v_head_dim, config.kv_lora_rank});
  const at::Tensor q_HNX = q_NX.view({-1, heads, config.qk_head_dim()}).transpose(0, 1);
  const at::Tensor absorbed_HNC =
      at::bmm(q_HNX.narrow(2, 0, nope), up_HXC.narrow(1, 0, nope)).to(type);
  const at::Tensor query_HNX =
      at::cat({absorbed_HNC, q_HNX.narrow(2, nope, config.qk_rope_head_dim).to(type)}, 2);
  std::vector<at::Tensor> latents;
  int64_t row = 0;
  for (const CachedSequence& sequence : sequences) {
    latents.push_back(attend_sequence(query_HNX.narrow(1, row, sequence.rows), sequence,
                                      config.kv_lora_rank, softmax_scale(config)));
    row += sequence.rows;
  }
  const at::Tensor latent_HNC = at::cat(latents, 1).to(q_NX.scalar_type());
  const at::Tensor value_HCV = up_HXC.narrow(1, nope, config.v_head_dim).transpose(1, 2);
  return at::bmm(latent_HNC, value_HCV).transpose(0, 1).reshape({q_NX.size(0), -1});
}

}  // namespace dsmoe::nn
