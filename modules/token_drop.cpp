#include "modules/token_drop.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace dsmoe::nn {
namespace {

struct Candidate {
  int64_t pair;
  double affinity;
  bool protected_;
  int64_t token;
  int64_t expert;
};

/// `affinity` is 0 throughout where position alone decides.
bool before(const Candidate& a, const Candidate& b) {
  return std::tuple(!a.protected_, -a.affinity, a.token, a.expert) <
         std::tuple(!b.protected_, -b.affinity, b.token, b.expert);
}

/// Drops what ranks after the budget; a protected pair stays.
void cut(std::vector<Candidate>& candidates, int64_t budget, std::vector<char>& kept) {
  if (static_cast<int64_t>(candidates.size()) <= budget) return;
  std::nth_element(candidates.begin(), candidates.begin() + budget, candidates.end(), before);
  for (auto c = candidates.begin() + budget; c != candidates.end(); ++c) {
    if (!c->protected_) kept[static_cast<size_t>(c->pair)] = 0;
  }
}

int64_t budget_of(double capacity, int64_t num_choices, int64_t tokens, int64_t groups) {
  const double mean = static_cast<double>(num_choices * tokens) / static_cast<double>(groups);
  constexpr double kRounding = 1.0 - 1e-12;
  return static_cast<int64_t>(std::ceil(capacity * mean * kRounding));
}

/// How many parts have a budget of their own, and which one an expert belongs to.
struct Parts {
  Parts(const config::DropConfig& drop, const config::ModelConfig& config)
      : count(drop.kind == config::DropKind::kExpert ? config.n_routed_experts : config.n_group),
        experts(config.n_routed_experts / count) {}
  int64_t count;
  int64_t experts;  ///< in each
};

/// One pool: its candidates by device group or expert, and its tokens.
struct Pool {
  explicit Pool(int64_t num_groups) : groups(static_cast<size_t>(num_groups)) {}
  std::vector<std::vector<Candidate>> groups;
  int64_t tokens = 0;
};

void add_token(Pool& pool, const RoutedPairs& pairs, int64_t n, int64_t num_choices,
               const Parts& parts, config::DropOrder order) {
  const bool ranked = order == config::DropOrder::kAffinity;
  ++pool.tokens;
  for (int64_t p = n * num_choices; p < (n + 1) * num_choices; ++p) {
    const int64_t expert = pairs.experts[static_cast<size_t>(p)];
    const double affinity = ranked ? pairs.affinities[static_cast<size_t>(p)] : 0.0;
    pool.groups[static_cast<size_t>(expert / parts.experts)].push_back(
        {p, affinity, pairs.protected_[static_cast<size_t>(n)] != 0, n, expert});
  }
}

RoutedPairs collect(const Routing& routing, const SequenceInfo& sequences) {
  RoutedPairs pairs;
  pairs.tokens = routing.experts_NK.size(0);
  const auto count = static_cast<size_t>(pairs.tokens);
  const size_t length = sequences.pools.empty() ? 0 : count / sequences.pools.size();
  for (size_t n = 0; n < count; ++n) {
    pairs.pools.push_back(sequences.pools[n / length]);
    pairs.protected_.push_back(sequences.protected_[n / length] ? 1 : 0);
  }
  pairs.valid.assign(count, 1);
  if (sequences.valid_BT.defined()) {
    const at::Tensor flat = sequences.valid_BT.contiguous();
    std::copy_n(flat.const_data_ptr<bool>(), count, pairs.valid.begin());
  }
  const at::Tensor affinities =
      routing.scores_NE.detach().gather(1, routing.experts_NK).to(at::kDouble).contiguous();
  const auto* a = affinities.const_data_ptr<double>();
  const auto* e = routing.experts_NK.const_data_ptr<int64_t>();
  pairs.affinities.assign(a, a + affinities.numel());
  pairs.experts.assign(e, e + affinities.numel());
  return pairs;
}

// A row of the all-gather, one per token: pool, protected, valid, then K experts and K affinities.
constexpr int64_t kHeader = 3;

at::Tensor pack(const RoutedPairs& pairs, int64_t rows, int64_t num_choices) {
  at::Tensor packed = at::zeros({rows, kHeader + 2 * num_choices}, at::kDouble);
  auto* row = packed.mutable_data_ptr<double>();
  for (size_t n = 0; n < static_cast<size_t>(pairs.tokens); ++n, row += packed.size(1)) {
    row[0] = static_cast<double>(pairs.pools[n]);
    row[1] = pairs.protected_[n];
    row[2] = pairs.valid[n];
    for (size_t k = 0; k < static_cast<size_t>(num_choices); ++k) {
      const size_t p = n * static_cast<size_t>(num_choices) + k;
      row[kHeader + static_cast<int64_t>(k)] = static_cast<double>(pairs.experts[p]);
      row[kHeader + num_choices + static_cast<int64_t>(k)] = pairs.affinities[p];
    }
  }
  return packed;
}

RoutedPairs unpack(const at::Tensor& packed, int64_t num_choices) {
  RoutedPairs pairs;
  pairs.tokens = packed.size(0);
  const auto* row = packed.const_data_ptr<double>();
  for (int64_t n = 0; n < pairs.tokens; ++n, row += packed.size(1)) {
    pairs.pools.push_back(static_cast<int64_t>(row[0]));
    pairs.protected_.push_back(row[1] != 0);
    pairs.valid.push_back(row[2] != 0);
    for (int64_t k = 0; k < num_choices; ++k) {
      pairs.experts.push_back(static_cast<int64_t>(row[kHeader + k]));
      pairs.affinities.push_back(row[kHeader + num_choices + k]);
    }
  }
  return pairs;
}

std::vector<char> keep_valid(const RoutedPairs& pairs, int64_t num_choices) {
  std::vector<char> kept(static_cast<size_t>(pairs.tokens * num_choices));
  for (size_t p = 0; p < kept.size(); ++p) {
    kept[p] = pairs.valid[p / static_cast<size_t>(num_choices)];
  }
  return kept;
}

at::Tensor to_mask(const std::vector<char>& kept, int64_t rows, int64_t num_choices) {
  at::Tensor mask = at::empty({rows, num_choices}, at::kBool);
  std::copy(kept.begin(), kept.end(), mask.mutable_data_ptr<bool>());
  return mask;
}

}  // namespace

std::vector<char> keep_within_budget(const RoutedPairs& pairs, const config::DropConfig& drop,
                                     const config::ModelConfig& config) {
  const Parts parts(drop, config);
  std::vector<char> kept = keep_valid(pairs, config.num_experts_per_tok);
  std::map<int64_t, Pool> pools;
  for (int64_t n = 0; n < pairs.tokens; ++n) {
    if (pairs.valid[static_cast<size_t>(n)] == 0) continue;
    Pool& pool = pools.try_emplace(pairs.pools[static_cast<size_t>(n)], parts.count).first->second;
    add_token(pool, pairs, n, config.num_experts_per_tok, parts, drop.by);
  }
  for (auto& [id, pool] : pools) {
    const int64_t budget =
        budget_of(drop.capacity, config.num_experts_per_tok, pool.tokens, parts.count);
    for (auto& group : pool.groups) cut(group, budget, kept);
  }
  return kept;
}

TokenDropper::TokenDropper(const config::ModelConfig& model, const config::DropConfig& drop,
                           const config::BatchConfig& batch, parallel::Communicator& ep)
    : model_(model),
      drop_(drop),
      micro_sequences_(batch.micro_sequences),
      pools_span_ranks_(batch.pools_span(ep.size())),
      ep_(ep) {}

at::Tensor TokenDropper::keep(const Routing& routing, const SequenceInfo& sequences,
                              bool dropping) const {
  dropping = dropping && drop_.kind != config::DropKind::kNone;
  if (!dropping && !sequences.valid_BT.defined()) return {};
  const RoutedPairs pairs = collect(routing, sequences);
  const int64_t num_choices = model_.num_experts_per_tok;
  if (!dropping) return to_mask(keep_valid(pairs, num_choices), pairs.tokens, num_choices);
  if (!pools_span_ranks_) {
    return to_mask(keep_within_budget(pairs, drop_, model_), pairs.tokens, num_choices);
  }
  const auto batch = static_cast<int64_t>(sequences.pools.size());
  const int64_t length = batch == 0 ? 0 : pairs.tokens / batch;
  return to_mask(keep_across_ranks(pairs, length), pairs.tokens, num_choices);
}

std::vector<char> TokenDropper::keep_across_ranks(const RoutedPairs& own,
                                                  int64_t sequence_length) const {
  at::Tensor length = at::full({1}, sequence_length, at::kLong);
  ep_.all_reduce(length, parallel::ReduceOp::kMax);
  const int64_t num_choices = model_.num_experts_per_tok;
  const int64_t rows = micro_sequences_ * length.item<int64_t>();
  const at::Tensor mine = pack(own, rows, num_choices);
  at::Tensor all = at::empty({ep_.size() * rows, mine.size(1)}, at::kDouble);
  ep_.all_gather(all, mine);
  const auto kept = keep_within_budget(unpack(all, num_choices), drop_, model_);
  const auto first = kept.begin() + ep_.rank() * rows * num_choices;
  return {first, first + own.tokens * num_choices};
}

int64_t TokenDropper::gathered_bytes(int64_t sequence_length) const {
  if (!pools_span_ranks_ || drop_.kind == config::DropKind::kNone) return 0;
  const int64_t columns = kHeader + 2 * model_.num_experts_per_tok;
  return (ep_.size() - 1) * micro_sequences_ * sequence_length * columns *
         static_cast<int64_t>(sizeof(double));
}

}  // namespace dsmoe::nn
