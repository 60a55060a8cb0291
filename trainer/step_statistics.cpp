#include "trainer/step_statistics.h"

#include "trainer/checkpoint.h"
#include "trainer/load_stats.h"
#include "trainer/ratio.h"

namespace dsmoe::train {
namespace {

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

/// What the factors make of a layer's raw losses.
double scaled(const BalanceValues& raw, const config::BalanceConfig& factors) {
  return factors.expert * raw.expert + factors.device * raw.device +
         factors.communication * raw.communication + factors.z * raw.z +
         factors.complementary * raw.complementary;
}

/// Adds one layer's values to means over `layers` of them.
void add_means(StepReport& report, const LayerReport& layer, int64_t layers) {
  report.balance.expert += ratio(layer.balance.expert, layers);
  report.balance.device += ratio(layer.balance.device, layers);
  report.balance.communication += ratio(layer.balance.communication, layers);
  report.balance.z += ratio(layer.balance.z, layers);
  report.balance.complementary += ratio(layer.balance.complementary, layers);
  report.router.entropy += ratio(layer.router.entropy, layers);
  report.router.topk_mass += ratio(layer.router.topk_mass, layers);
  report.drop.rate += ratio(layer.drop.rate, layers);
  report.drop.tokens += ratio(layer.drop.tokens, layers);
  report.drop.tokens_lost += ratio(layer.drop.tokens_lost, layers);
  report.drop.mass += ratio(layer.drop.mass, layers);
  report.traffic.devices_per_token += ratio(layer.devices_per_token, layers);
}

}  // namespace

StepStatistics::StepStatistics(const config::RunConfig& config)
    : model_(config.model),
      balance_(config.balance),
      knows_nodes_(config.parallel.ranks_per_node > 0) {
  const at::ScalarType dtype = compute_dtype(config.run.precision);
  element_bytes_ = static_cast<int64_t>(c10::elementSize(dtype));
  weight_bytes_ = dtype == at::kDouble ? 8 : 4;
  const auto sources = static_cast<int64_t>(config.data.train.size());
  for (int64_t i = 0; i < model_.num_hidden_layers; ++i) {
    if (model_.is_moe_layer(i)) layers_.emplace_back(model_, i, sources);
  }
}

void StepStatistics::add_bytes(const nn::RoutingRecord& record) {
  for (const auto& hop : record.route->hops) {
    bytes_bound_ += record.row_crossings * hop->remote_rows * model_.hidden_size * element_bytes_;
    metadata_bytes_ +=
        hop->metadata_bytes + record.pair_crossings * hop->remote_pairs * weight_bytes_;
  }
}

void StepStatistics::add(const nn::ModelOutput& output, const Objective& objective,
                         const data::TokenBatch& batch) {
  lm_sum_ += objective.lm_sum;
  for (size_t i = 0; i < output.routing.size(); ++i) {
    const nn::RoutingRecord& record = output.routing[i];
    layers_[static_cast<size_t>(model_.moe_layers_before(record.layer))].add(
        record, batch, objective.balance_sums[i]);
    add_bytes(record);
  }
}

void StepStatistics::add_tokens(const nn::SequenceInfo& sequences, const data::TokenBatch& batch) {
  const at::Tensor& valid_BT = sequences.valid_BT;
  protected_ += count_protected(sequences);
  tokens_ += valid_BT.defined() ? valid_BT.sum().item<int64_t>() : batch.inputs_BT.numel();
}

void StepStatistics::add_counting_pass(const nn::ModelOutput& output) {
  for (const nn::RoutingRecord& record : output.routing) add_bytes(record);
}

void StepStatistics::add_measured(int64_t forward_bytes, int64_t backward_bytes) {
  forward_bytes_ += forward_bytes;
  backward_bytes_ += backward_bytes;
}

void StepStatistics::add_node_bytes(int64_t across, int64_t within) {
  inter_node_bytes_ += across;
  intra_node_bytes_ += within;
}

void StepStatistics::reduce(parallel::Communicator& world) {
  std::vector<int64_t*> counts{&tokens_,           &protected_,       &forward_bytes_,
                               &backward_bytes_,   &bytes_bound_,     &metadata_bytes_,
                               &inter_node_bytes_, &intra_node_bytes_};
  std::vector<double*> sums{&lm_sum_};
  for (LayerStatistics& layer : layers_) {
    const auto more_counts = layer.counts();
    const auto more_sums = layer.sums();
    counts.insert(counts.end(), more_counts.begin(), more_counts.end());
    sums.insert(sums.end(), more_sums.begin(), more_sums.end());
  }
  reduce_values(counts, world);
  reduce_values(sums, world);
}

void StepStatistics::fill(StepReport& report, const GlobalCounts& counts) const {
  report.loss = counts.targets > 0 ? lm_sum_ / counts.targets : 0.0;
  report.targets = counts.targets;
  report.loss_total = report.loss;
  report.protected_share = ratio(protected_, counts.rows);
  report.traffic.bytes = forward_bytes_ + backward_bytes_;
  report.traffic.forward_bytes = forward_bytes_;
  report.traffic.backward_bytes = backward_bytes_;
  report.traffic.bytes_bound = bytes_bound_;
  report.traffic.metadata_bytes = metadata_bytes_;
  if (knows_nodes_) {
    report.traffic.inter_node_bytes = inter_node_bytes_;
    report.traffic.intra_node_bytes = intra_node_bytes_;
  }
  std::vector<LoadValues> loads;
  const auto layers = static_cast<int64_t>(layers_.size());
  for (const LayerStatistics& layer : layers_) {
    report.layers.push_back(layer.report(counts, tokens_));
    loads.push_back(report.layers.back().load);
    LayerReport& last = report.layers.back();
    last.balance_scaled = scaled(last.balance, balance_);
    report.loss_total += last.balance_scaled;
    add_means(report, report.layers.back(), layers);
    report.traffic.ranks_per_token += ratio(layer.rank_visits(), tokens_ * layers);
  }
  report.load = over_layers(loads);
}

}  // namespace dsmoe::train
