#include "trainer/layer_statistics.h"

#include <cmath>
#include <numeric>

#include "modules/balance_counts.h"
#include "modules/row_loop.h"
#include "modules/softmax_row.h"
#include "trainer/load_stats.h"
#include "trainer/ratio.h"

namespace dsmoe::train {
namespace {

template <class T>
void append(std::vector<T*>& all, std::vector<T>& values) {
  for (T& value : values) all.push_back(&value);
}

int64_t sum_of(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

std::vector<int64_t> zeros(int64_t count) {
  return std::vector<int64_t>(static_cast<size_t>(count), 0);
}

/// What one token's affinities say; zeros where it is padding.
struct TokenAffinities {
  double entropy = 0;  ///< of the affinities over their sum, nats
  double mass = 0;     ///< of the chosen ones
  double dropped = 0;  ///< the part of mass that was dropped
};

/// ln S - sum(s ln s) / S; for a softmax log(sum(exp(logits))) - sum(s * logits).
template <class T>
double entropy_of(const T* scores, const T* logits, int64_t experts, bool softmax) {
  double sum = 0;
  if (softmax) {
    for (int64_t e = 0; e < experts; ++e) sum += static_cast<double>(scores[e] * logits[e]);
    return static_cast<double>(nn::log_sum_exp(logits, scores, experts)) - sum;
  }
  double all = 0;
  for (int64_t e = 0; e < experts; ++e) {
    const auto score = static_cast<double>(scores[e]);
    all += score;
    sum += score > 0 ? score * std::log(score) : 0;
  }
  return std::log(all) - sum / all;
}

std::vector<TokenAffinities> affinities_of(const nn::RoutingRecord& record, bool softmax,
                                           const bool* valid) {
  const at::Tensor scores_NE = record.scores_NE.detach().contiguous();
  const at::Tensor logits_NE = record.logits_NE.detach().contiguous();
  const int64_t width = scores_NE.size(1);
  const int64_t choices = record.experts_NK.size(1);
  const auto* const experts = record.experts_NK.const_data_ptr<int64_t>();
  const bool* const kept =
      record.kept_NK.defined() ? record.kept_NK.const_data_ptr<bool>() : nullptr;
  std::vector<TokenAffinities> tokens(static_cast<size_t>(scores_NE.size(0)));
  AT_DISPATCH_FLOATING_TYPES(scores_NE.scalar_type(), "affinities_of", [&] {
    const auto* const scores = scores_NE.const_data_ptr<scalar_t>();
    const auto* const logits = logits_NE.const_data_ptr<scalar_t>();
    nn::for_rows(scores_NE.size(0), 2 * width, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        if (valid != nullptr && !valid[n]) continue;
        TokenAffinities& token = tokens[static_cast<size_t>(n)];
        token.entropy = entropy_of(scores + n * width, logits + n * width, width, softmax);
        for (int64_t p = n * choices; p < (n + 1) * choices; ++p) {
          const auto score = static_cast<double>(scores[n * width + experts[p]]);
          token.mass += score;
          token.dropped += kept != nullptr && !kept[p] ? score : 0;
        }
      }
    });
  });
  return tokens;
}

}  // namespace

LayerStatistics::LayerStatistics(const config::ModelConfig& model, int64_t layer, int64_t sources)
    : model_(model),
      layer_(layer),
      pairs_(zeros(model.n_routed_experts)),
      received_(zeros(model.n_group)),
      sent_(zeros(model.n_group)),
      devices_(zeros(model.n_group + 1)),
      source_pairs_(zeros(sources * model.n_routed_experts)),
      groups_(nn::groups_of_experts(model)),
      last_visit_(zeros(model.n_group)) {}

void LayerStatistics::add_token(int64_t n, int64_t row, const data::TokenBatch& batch,
                                const int64_t* experts, const bool* kept) {
  const auto at = static_cast<size_t>(row);
  int64_t visited = 0;
  int64_t dropped = 0;
  for (int64_t k = 0; k < model_.num_experts_per_tok; ++k) {
    ++pairs_[static_cast<size_t>(experts[k])];
    if (!batch.sources.empty()) {
      ++source_pairs_[static_cast<size_t>(batch.sources[at] * model_.n_routed_experts +
                                          experts[k])];
    }
    if (kept != nullptr && !kept[k]) {
      ++dropped;
      continue;
    }
    const auto group = static_cast<size_t>(groups_[static_cast<size_t>(experts[k])]);
    if (last_visit_[group] != n) ++received_[group], ++visited;
    last_visit_[group] = n;
  }
  kept_ += model_.num_experts_per_tok - dropped;
  tokens_hit_ += dropped > 0 ? 1 : 0;
  tokens_lost_ += dropped == model_.num_experts_per_tok ? 1 : 0;
  ++devices_[static_cast<size_t>(visited)];
  sent_[static_cast<size_t>(batch.sequence_numbers[at] % model_.n_group)] += visited;
}

void LayerStatistics::add_affinities(const nn::RoutingRecord& record, const bool* valid) {
  const bool softmax = model_.scoring_func == config::ScoringFunc::kSoftmax;
  for (const TokenAffinities& token : affinities_of(record, softmax, valid)) {
    entropy_ += token.entropy;
    mass_ += token.mass;
    mass_dropped_ += token.dropped;
  }
}

void LayerStatistics::add(const nn::RoutingRecord& record, const data::TokenBatch& batch,
                          const BalanceSums& balance) {
  const int64_t rows = record.experts_NK.size(0);
  const int64_t choices = model_.num_experts_per_tok;
  const int64_t length = batch.inputs_BT.size(1);
  const at::Tensor valid_N = batch.valid_BT.defined() ? batch.valid_BT.reshape({-1}) : at::Tensor();
  const auto* const experts = record.experts_NK.const_data_ptr<int64_t>();
  const bool* const kept =
      record.kept_NK.defined() ? record.kept_NK.const_data_ptr<bool>() : nullptr;
  const bool* const valid = valid_N.defined() ? valid_N.const_data_ptr<bool>() : nullptr;
  std::fill(last_visit_.begin(), last_visit_.end(), -1);
  for (int64_t n = 0; n < rows; ++n) {
    if (valid != nullptr && !valid[n]) continue;
    add_token(n, n / length, batch, experts + n * choices,
              kept == nullptr ? nullptr : kept + n * choices);
  }
  add_affinities(record, valid);
  rank_visits_ += record.route->rank_visits();
  for (size_t i = 0; i < balance.size(); ++i) balance_[i] += balance[i];
}

std::vector<int64_t*> LayerStatistics::counts() {
  std::vector<int64_t*> all{&kept_, &tokens_hit_, &tokens_lost_, &rank_visits_};
  for (auto* values : {&pairs_, &received_, &sent_, &devices_, &source_pairs_}) {
    append(all, *values);
  }
  return all;
}

std::vector<double*> LayerStatistics::sums() {
  std::vector<double*> all{&entropy_, &mass_, &mass_dropped_};
  for (double& sum : balance_) all.push_back(&sum);
  return all;
}

LayerReport LayerStatistics::report(const GlobalCounts& global, int64_t tokens) const {
  const int64_t routed = sum_of(pairs_);
  const double most = std::log(static_cast<double>(model_.n_routed_experts));
  LayerReport report;
  report.layer = layer_;
  report.balance = {ratio(balance_[0], global.units), ratio(balance_[1], global.units),
                    ratio(balance_[2], global.units), ratio(balance_[3], global.units),
                    ratio(balance_[4], global.units)};
  report.load = load_of(pairs_, received_);
  report.router = {most == 0 ? 0 : ratio(entropy_, tokens) / most, ratio(mass_, tokens)};
  report.drop = {ratio(routed - kept_, routed), ratio(tokens_hit_, tokens),
                 ratio(tokens_lost_, tokens), mass_ == 0 ? 0 : mass_dropped_ / mass_};
  report.devices_per_token = ratio(sum_of(received_), tokens);
  report.pairs = pairs_;
  report.received = received_;
  report.sent = sent_;
  report.devices = devices_;
  report.source_pairs = source_pairs_;
  return report;
}

}  // namespace dsmoe::train
