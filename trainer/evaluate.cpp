#include "trainer/evaluate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "modules/balance_counts.h"
#include "trainer/load_stats.h"
#include "trainer/ratio.h"

namespace dsmoe::train {
namespace {

struct Sums {
  double loss = 0;
  int64_t tokens = 0;

  void add(const Sums& other) {
    loss += other.loss;
    tokens += other.tokens;
  }
  [[nodiscard]] double mean() const {
    return loss / static_cast<double>(std::max<int64_t>(tokens, 1));
  }
};

/// What is added up over the windows of a set.
struct Totals {
  std::vector<Sums> domains;
  at::Tensor pairs_LDE;         ///< chosen pairs of each expert in each MoE layer, by domain
  at::Tensor kept;              ///< pairs that were not dropped, one number
  std::vector<Sums> positions;  ///< by position of the window

  Totals(int64_t count, int64_t window, const config::ModelConfig& model)
      : domains(static_cast<size_t>(count)),
        pairs_LDE(at::zeros({model.num_moe_layers(), count, model.n_routed_experts}, at::kLong)),
        kept(at::zeros({1}, at::kLong)),
        positions(static_cast<size_t>(window)) {}
};

/// Each row of a batch as a piece of its domain.
nn::LossUnits units_of(const data::EvalSet& set, const data::TokenBatch& batch) {
  nn::LossUnits units{nn::Segments::uniform(batch.inputs_BT.size(0), batch.inputs_BT.size(1)),
                      {},
                      static_cast<int64_t>(set.domains().size())};
  for (const int64_t row : batch.sequence_numbers) units.units.push_back(set.domain(row));
  if (batch.valid_BT.defined()) units.valid_N = batch.valid_BT.reshape({-1});
  return units;
}

void add_pairs(Totals& totals, const nn::ModelOutput& output, const nn::LossUnits& units,
               const config::ModelConfig& model) {
  for (size_t i = 0; i < output.routing.size(); ++i) {
    const nn::RoutingRecord& record = output.routing[i];
    totals.pairs_LDE[static_cast<int64_t>(i)] +=
        nn::count_pairs(record.experts_NK, {}, units, model);
    totals.kept += nn::count_pairs(record.experts_NK, record.kept_NK, units, model).sum();
  }
}

/// Adds [B, T] losses and whether each token is predicted to sums of their rows and columns.
void add_losses(Totals& totals, const data::EvalSet& set, const data::TokenBatch& batch,
                const at::Tensor& losses_BT) {
  const auto losses = losses_BT.accessor<double, 2>();
  const auto targets = batch.targets_BT.accessor<int64_t, 2>();
  for (int64_t b = 0; b < targets.size(0); ++b) {
    Sums& domain = totals.domains[static_cast<size_t>(
        set.domain(batch.sequence_numbers[static_cast<size_t>(b)]))];
    for (int64_t t = 0; t < targets.size(1); ++t) {
      if (targets[b][t] < 0) continue;
      domain.add({losses[b][t], 1});
      totals.positions[static_cast<size_t>(t)].add({losses[b][t], 1});
    }
  }
}

void add_batch(Totals& totals, nn::Model& model, const data::EvalSet& set,
               const data::TokenBatch& batch, bool drop) {
  const auto output = model->forward(batch.inputs_BT, sequence_info(batch), drop);
  add_losses(totals, set, batch,
             model->losses(output, batch.targets_BT).view(batch.targets_BT.sizes()).cpu());
  add_pairs(totals, output, units_of(set, batch), model->config());
}

void reduce(std::vector<Sums>& sums, parallel::Communicator& world) {
  at::Tensor values = at::empty({static_cast<int64_t>(sums.size()), 2}, at::kDouble);
  auto numbers = values.accessor<double, 2>();
  for (size_t i = 0; i < sums.size(); ++i) {
    numbers[static_cast<int64_t>(i)][0] = sums[i].loss;
    numbers[static_cast<int64_t>(i)][1] = static_cast<double>(sums[i].tokens);
  }
  world.all_reduce(values, parallel::ReduceOp::kSum);
  for (size_t i = 0; i < sums.size(); ++i) {
    const auto row = numbers[static_cast<int64_t>(i)];
    sums[i] = {row[0], static_cast<int64_t>(row[1])};
  }
}

void reduce(Totals& totals, parallel::Communicator& world) {
  if (world.size() == 1) return;
  world.all_reduce(totals.pairs_LDE, parallel::ReduceOp::kSum);
  world.all_reduce(totals.kept, parallel::ReduceOp::kSum);
  reduce(totals.domains, world);
  reduce(totals.positions, world);
}

EvalReport report_of(const Sums& sums, int64_t text_bytes) {
  EvalReport report;
  report.tokens = sums.tokens;
  report.loss = sums.mean();
  report.perplexity = std::exp(report.loss);
  report.bits_per_byte = text_bytes == 0
                             ? std::numeric_limits<double>::quiet_NaN()
                             : sums.loss / std::numbers::ln2 / static_cast<double>(text_bytes);
  return report;
}

std::vector<int64_t> counts_of(const at::Tensor& counts_E) {
  const auto* const counts = counts_E.const_data_ptr<int64_t>();
  return {counts, counts + counts_E.numel()};
}

/// What the loads say: means over layers.
void fill_routing(EvalReport& report, const Totals& totals) {
  const int64_t layers = totals.pairs_LDE.size(0);
  for (const at::Tensor& pairs_DE : totals.pairs_LDE.unbind()) {
    std::vector<std::vector<int64_t>> domains;
    for (const at::Tensor& pairs_E : pairs_DE.unbind()) domains.push_back(counts_of(pairs_E));
    report.max_vio += ratio(max_vio(counts_of(pairs_DE.sum(0))), layers);
    report.specialisation += ratio(specialisation(domains), layers);
  }
  const auto routed = totals.pairs_LDE.sum().item<int64_t>();
  report.drop_rate = ratio(routed - totals.kept.item<int64_t>(), routed);
}

/// Means over `stretch` positions each.
std::vector<PositionLoss> by_position(const std::vector<Sums>& positions, int64_t stretch) {
  std::vector<PositionLoss> losses;
  const auto end = static_cast<int64_t>(positions.size());
  for (int64_t from = 0; from < end; from += stretch) {
    const int64_t to = std::min(from + stretch, end);
    Sums all;
    for (int64_t i = from; i < to; ++i) all.add(positions[static_cast<size_t>(i)]);
    if (all.tokens > 0) losses.push_back({from, to, all.mean(), all.tokens});
  }
  return losses;
}

EvalReport report_of(const Totals& totals, const data::EvalSet& set, int64_t windows) {
  const std::vector<Sums>& sums = totals.domains;
  Sums all;
  for (const Sums& sum : sums) all.add(sum);
  EvalReport report = report_of(all, set.text_bytes(windows));
  fill_routing(report, totals);
  for (size_t d = 0; sums.size() > 1 && d < sums.size(); ++d) {
    report.domains[set.domains()[d]] =
        report_of(sums[d], set.text_bytes(windows, static_cast<int64_t>(d)));
  }
  return report;
}

}  // namespace

nn::SequenceInfo sequence_info(const data::TokenBatch& batch) {
  return {batch.sequence_numbers, std::vector<bool>(batch.sequence_numbers.size(), false),
          batch.valid_BT};
}

EvalReport evaluate(nn::Model& model, const data::EvalSet& set, const EvalPlan& plan,
                    parallel::Communicator& world,
                    const std::function<void(int64_t, int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  const int64_t windows = std::min(plan.windows, set.num_windows());
  const int64_t piece = plan.micro_sequences * world.size();
  Totals totals(static_cast<int64_t>(set.domains().size()), set.window(), model->config());
  for (int64_t begin = 0; begin < windows; begin += piece) {
    const int64_t mine = std::min(begin + world.rank() * plan.micro_sequences, windows);
    add_batch(totals, model, set, set.load(mine, std::min(mine + plan.micro_sequences, windows)),
              plan.drop);
    if (progress) progress(std::min(begin + piece, windows), windows);
  }
  reduce(totals, world);
  EvalReport report = report_of(totals, set, windows);
  if (plan.stretch > 0) report.positions = by_position(totals.positions, plan.stretch);
  return report;
}

}  // namespace dsmoe::train
