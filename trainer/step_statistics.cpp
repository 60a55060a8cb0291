#include "trainer/step_statistics.h"

#include <numeric>

#include "trainer/load_stats.h"

namespace dsmoe::train {
namespace {

/// Rows cross four times a layer: dispatch and combine, each forward and backward.
constexpr int64_t kCrossings = 4;

double ratio(int64_t a, int64_t b) {
  return b == 0 ? 0.0 : static_cast<double>(a) / static_cast<double>(b);
}

double ratio(double a, int64_t b) { return b == 0 ? 0.0 : a / static_cast<double>(b); }

/// Values of a struct, one after the other, through one all-reduce.
template <class T>
void reduce_values(const std::vector<T*>& values, parallel::Communicator& world) {
  constexpr auto dtype = c10::CppTypeToScalarType<T>::value;
  at::Tensor flat = at::empty({static_cast<int64_t>(values.size())}, dtype);
  T* data = flat.mutable_data_ptr<T>();
  for (size_t i = 0; i < values.size(); ++i) data[i] = *values[i];
  if (world.size() > 1) world.all_reduce(flat, parallel::ReduceOp::kSum);
  for (size_t i = 0; i < values.size(); ++i) *values[i] = data[i];
}

/// Sequences of padding alone do not count.
int64_t count_protected(const nn::SequenceInfo& sequences) {
  int64_t count = 0;
  for (size_t b = 0; b < sequences.protected_.size(); ++b) {
    const auto row = static_cast<int64_t>(b);
    const bool filled = !sequences.valid_BT.defined() || sequences.valid_BT[row].any().item<bool>();
    if (filled && sequences.protected_[b]) ++count;
  }
  return count;
}

}  // namespace

StepStatistics::StepStatistics(const config::ModelConfig& model, int64_t element_bytes,
                               int64_t weight_bytes)
    : model_(model), element_bytes_(element_bytes), weight_bytes_(weight_bytes) {
  for (int64_t i = 0; i < model.num_hidden_layers; ++i) {
    if (model.is_moe_layer(i)) layer_ids_.push_back(i);
  }
  layers_.resize(layer_ids_.size());
  balance_sums_.resize(layer_ids_.size());
  for (Layer& layer : layers_) layer.pairs.resize(static_cast<size_t>(model.n_routed_experts));
}

void StepStatistics::add_layer(Layer& layer, const nn::RoutingRecord& record,
                               const at::Tensor& valid_BT) {
  const int64_t choices = model_.num_experts_per_tok;
  const auto* experts = record.experts_NK.const_data_ptr<int64_t>();
  const bool* kept = record.kept_NK.defined() ? record.kept_NK.const_data_ptr<bool>() : nullptr;
  const at::Tensor valid = valid_BT.defined() ? valid_BT.contiguous() : at::Tensor();
  const bool* is_valid = valid.defined() ? valid.const_data_ptr<bool>() : nullptr;
  std::vector<int64_t> last_visit(static_cast<size_t>(model_.n_group), -1);
  for (int64_t n = 0; n < record.experts_NK.size(0); ++n) {
    if (is_valid != nullptr && !is_valid[n]) continue;
    for (int64_t p = n * choices; p < (n + 1) * choices; ++p) {
      ++layer.pairs[static_cast<size_t>(experts[p])];
      if (kept != nullptr && !kept[p]) continue;
      ++layer.kept;
      int64_t& last = last_visit[static_cast<size_t>(experts[p] / model_.experts_per_group())];
      if (last != n) ++layer.group_visits;
      last = n;
    }
  }
  const auto& sent = record.plan->sent_rows;
  layer.rank_visits += std::accumulate(sent.begin(), sent.end(), int64_t{0});
}

void StepStatistics::add(const nn::ModelOutput& output, const Objective& objective,
                         const nn::SequenceInfo& sequences) {
  const at::Tensor& valid_BT = sequences.valid_BT;
  protected_ += count_protected(sequences);
  lm_sum_ += objective.lm_sum;
  tokens_ += valid_BT.defined() ? valid_BT.sum().item<int64_t>() : output.hidden_NM.size(0);
  for (size_t i = 0; i < output.routing.size(); ++i) {
    const nn::RoutingRecord& record = output.routing[i];
    add_layer(layers_[i], record, valid_BT);
    for (size_t k = 0; k < 3; ++k) balance_sums_[i][k] += objective.balance_sums[i][k];
    const auto& plan = *record.plan;
    bytes_bound_ += kCrossings * plan.remote_rows * model_.hidden_size * element_bytes_;
    metadata_bytes_ += plan.metadata_bytes + 2 * plan.remote_pairs * weight_bytes_;
  }
}

void StepStatistics::add_traffic(int64_t gathered_bytes, int64_t measured_bytes) {
  metadata_bytes_ += gathered_bytes;
  bytes_ += measured_bytes;
}

void StepStatistics::reduce(parallel::Communicator& world) {
  std::vector<int64_t*> counts{&tokens_, &protected_, &bytes_, &bytes_bound_, &metadata_bytes_};
  std::vector<double*> sums{&lm_sum_};
  for (Layer& layer : layers_) {
    for (int64_t& pairs : layer.pairs) counts.push_back(&pairs);
    counts.insert(counts.end(), {&layer.kept, &layer.group_visits, &layer.rank_visits});
  }
  for (auto& layer : balance_sums_) {
    for (double& sum : layer) sums.push_back(&sum);
  }
  reduce_values(counts, world);
  reduce_values(sums, world);
}

LayerReport StepStatistics::report_layer(size_t index, const GlobalCounts& counts) const {
  const Layer& layer = layers_[index];
  const auto& sums = balance_sums_[index];
  LayerReport report;
  report.layer = layer_ids_[index];
  report.balance = {ratio(sums[0], counts.sequences), ratio(sums[1], counts.sequences),
                    ratio(sums[2], counts.sequences)};
  report.load = load_of(layer.pairs, model_.n_group);
  const int64_t routed = std::accumulate(layer.pairs.begin(), layer.pairs.end(), int64_t{0});
  report.drop_rate = ratio(routed - layer.kept, routed);
  report.devices_per_token = ratio(layer.group_visits, tokens_);
  return report;
}

void StepStatistics::fill(StepReport& report, const config::BalanceConfig& balance,
                          const GlobalCounts& counts) const {
  report.loss = ratio(lm_sum_, counts.targets);
  report.loss_total = report.loss;
  report.protected_share = ratio(protected_, counts.rows);
  report.traffic.bytes = bytes_;
  report.traffic.bytes_bound = bytes_bound_;
  report.traffic.metadata_bytes = metadata_bytes_;
  std::vector<LoadValues> loads;
  const auto num_layers = static_cast<int64_t>(layers_.size());
  for (size_t i = 0; i < layers_.size(); ++i) {
    const LayerReport layer = report_layer(i, counts);
    report.layers.push_back(layer);
    loads.push_back(layer.load);
    report.loss_total += balance.expert * layer.balance.expert +
                         balance.device * layer.balance.device +
                         balance.communication * layer.balance.communication;
    report.balance.expert += ratio(layer.balance.expert, num_layers);
    report.balance.device += ratio(layer.balance.device, num_layers);
    report.balance.communication += ratio(layer.balance.communication, num_layers);
    report.drop_rate += ratio(layer.drop_rate, num_layers);
    report.traffic.devices_per_token += ratio(layer.devices_per_token, num_layers);
    report.traffic.ranks_per_token += ratio(layers_[i].rank_visits, tokens_ * num_layers);
  }
  report.load = over_layers(loads);
}

}  // namespace dsmoe::train
