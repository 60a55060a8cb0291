#include "trainer/loss_units.h"

#include <algorithm>
#include <limits>

namespace dsmoe::train {
namespace {

using config::BalanceScope;

nn::Segments rows_of(const data::TokenBatch& batch) {
  return nn::Segments::uniform(batch.inputs_BT.size(0), batch.inputs_BT.size(1));
}

/// The sequence number of the row that each piece lies in.
std::vector<int64_t> numbers_of(const nn::Segments& pieces, const data::TokenBatch& batch) {
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < pieces.count(); ++i) {
    const int64_t row = pieces.start(i) / batch.inputs_BT.size(1);
    numbers.push_back(batch.sequence_numbers[static_cast<size_t>(row)]);
  }
  return numbers;
}

/// The lowest and highest pool here, or in the expert group.
std::pair<int64_t, int64_t> range_of(const std::vector<int64_t>& pools, bool spans,
                                     parallel::Communicator& ep) {
  at::Tensor ends = torch::full({2}, std::numeric_limits<int64_t>::min() / 2, at::kLong);
  auto* const end = ends.mutable_data_ptr<int64_t>();  // minus the lowest, the highest
  for (const int64_t pool : pools) {
    end[0] = std::max(end[0], -pool);
    end[1] = std::max(end[1], pool);
  }
  if (spans) ep.all_reduce(ends, parallel::ReduceOp::kMax);
  return end[1] < 0 ? std::pair<int64_t, int64_t>{0, -1} : std::pair{-end[0], end[1]};
}

void number_pools(nn::LossUnits& units, const std::vector<int64_t>& pools, bool spans,
                  parallel::Communicator& ep) {
  const auto [lowest, highest] = range_of(pools, spans, ep);
  units.count = highest - lowest + 1;
  for (const int64_t pool : pools) units.units.push_back(pool - lowest);
}

std::vector<int64_t> pools_of(const data::TokenBatch& batch, int64_t first_sequence,
                              const config::BatchConfig& config) {
  std::vector<int64_t> pools;
  for (const int64_t number : batch.sequence_numbers) {
    pools.push_back(pool_of(number, first_sequence, config));
  }
  return pools;
}

int64_t non_empty(const at::Tensor& tokens_U) { return tokens_U.gt(0).sum().item<int64_t>(); }

at::Tensor valid_of(const data::TokenBatch& batch) {
  return batch.valid_BT.defined() ? batch.valid_BT.reshape({-1}) : at::Tensor();
}

/// Tokens of each pool of the step.
at::Tensor tokens_of_pools(const std::vector<data::TokenBatch>& batches, int64_t first_sequence,
                           const config::RunConfig& config, parallel::Communicator& world) {
  const int64_t pools = (config.batch.sequences + config.batch.pool - 1) / config.batch.pool;
  at::Tensor tokens_U = at::zeros({pools}, at::kLong);
  for (const data::TokenBatch& batch : batches) {
    const nn::LossUnits units{rows_of(batch), pools_of(batch, first_sequence, config.batch), pools,
                              valid_of(batch)};
    tokens_U += nn::count_tokens(units);
  }
  if (world.size() > 1) world.all_reduce(tokens_U, parallel::ReduceOp::kSum);
  return tokens_U;
}

}  // namespace

nn::Segments segments_of(const data::TokenBatch& batch) {
  if (batch.document_starts.empty()) return rows_of(batch);
  std::vector<int64_t> starts = batch.document_starts;
  starts.push_back(batch.inputs_BT.numel());
  return nn::Segments(std::move(starts));
}

int64_t pool_of(int64_t sequence_number, int64_t first_sequence, const config::BatchConfig& batch) {
  return (sequence_number - first_sequence) / batch.pool;
}

nn::LossUnits loss_units(const data::TokenBatch& batch, int64_t first_sequence,
                         const config::RunConfig& config, parallel::Communicator& ep) {
  const BalanceScope scope = config.balance.scope;
  nn::LossUnits units;
  if (scope == BalanceScope::kSequence) {
    units = nn::LossUnits::each(segments_of(batch), valid_of(batch));
  } else {
    units.pieces = rows_of(batch);
    units.valid_N = valid_of(batch);
  }
  if (scope == BalanceScope::kPool) {
    number_pools(units, pools_of(batch, first_sequence, config.batch),
                 config.batch.pools_span(ep.size()), ep);
  } else if (scope == BalanceScope::kGlobalBatch) {
    units.units.assign(static_cast<size_t>(units.pieces.count()), 0);
    units.count = 1;
  }
  if (config.balance.communication_rows == config::CommunicationRows::kRemote) {
    units.homes = numbers_of(units.pieces, batch);
    for (int64_t& home : units.homes) home %= config.model.n_group;
  }
  return units;
}

int64_t count_units(const std::vector<data::TokenBatch>& batches, int64_t first_sequence,
                    const config::RunConfig& config, parallel::Communicator& world) {
  if (config.balance.scope == BalanceScope::kGlobalBatch) return 1;
  if (config.balance.scope == BalanceScope::kPool) {
    return non_empty(tokens_of_pools(batches, first_sequence, config, world));
  }
  at::Tensor count = at::zeros({1}, at::kLong);
  for (const data::TokenBatch& batch : batches) {
    count += non_empty(nn::count_tokens(nn::LossUnits::each(segments_of(batch), valid_of(batch))));
  }
  if (world.size() > 1) world.all_reduce(count, parallel::ReduceOp::kSum);
  return count.item<int64_t>();
}

}  // namespace dsmoe::train
