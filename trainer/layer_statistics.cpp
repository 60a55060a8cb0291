#include "trainer/layer_statistics.h"

#include <cmath>
#include <numeric>

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

}  // namespace

LayerStatistics::LayerStatistics(const config::ModelConfig& model, int64_t layer, int64_t sources)
    : model_(model),
      layer_(layer),
      pairs_(zeros(model.n_routed_experts)),
      received_(zeros(model.n_group)),
      sent_(zeros(model.n_group)),
      devices_(zeros(model.n_group + 1)),
      source_pairs_(zeros(sources * model.n_routed_experts)),
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
    const auto group = static_cast<size_t>(experts[k] / model_.experts_per_group());
    if (last_visit_[group] != n) ++received_[group], ++visited;
    last_visit_[group] = n;
  }
  kept_ += model_.num_experts_per_tok - dropped;
  tokens_hit_ += dropped > 0 ? 1 : 0;
  tokens_lost_ += dropped == model_.num_experts_per_tok ? 1 : 0;
  ++devices_[static_cast<size_t>(visited)];
  sent_[static_cast<size_t>(batch.sequence_numbers[at] % model_.n_group)] += visited;
}

void LayerStatistics::add_affinities(const nn::RoutingRecord& record, const at::Tensor& valid_N) {
  const at::NoGradGuard no_grad;
  const at::Tensor scores_NE = record.scores_NE.detach();
  const at::Tensor shares_NE = scores_NE / scores_NE.sum(1, true);
  const at::Tensor entropy_N = at::special_entr(shares_NE).sum(1);
  at::Tensor chosen_NK = scores_NE.gather(1, record.experts_NK);
  at::Tensor real_N = valid_N.defined() ? valid_N : at::ones({scores_NE.size(0)}, at::kBool);
  const auto total = [&](const at::Tensor& x_N) {
    return x_N.masked_select(real_N).sum(at::kDouble).item<double>();
  };
  entropy_ += total(entropy_N);
  mass_ += total(chosen_NK.sum(1));
  if (!record.kept_NK.defined()) return;
  mass_dropped_ += total(chosen_NK.masked_fill(record.kept_NK, 0.0).sum(1));
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
  add_affinities(record, valid_N);
  rank_visits_ += sum_of(record.plan->sent_rows);
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
