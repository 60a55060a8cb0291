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
};

/// What is added up over the windows of a set.
struct Totals {
  std::vector<Sums> domains;
  at::Tensor pairs_LDE;  ///< chosen pairs of each expert in each MoE layer, by domain
  at::Tensor kept;       ///< pairs that were not dropped, one number

  Totals(int64_t count, const config::ModelConfig& model)
      : domains(static_cast<size_t>(count)),
        pairs_LDE(at::zeros({model.num_moe_layers(), count, model.n_routed_experts}, at::kLong)),
        kept(at::zeros({1}, at::kLong)) {}
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

/// Adds each row to the sums of its domain.
void add_batch(Totals& totals, nn::Model& model, const data::EvalSet& set,
               const data::TokenBatch& batch, bool drop) {
  const auto output = model->forward(batch.inputs_BT, sequence_info(batch), drop);
  const at::Tensor losses_B =
      model->losses(output, batch.targets_BT).view(batch.targets_BT.sizes()).sum(1);
  const at::Tensor tokens_B = batch.targets_BT.ge(0).sum(1);
  for (size_t b = 0; b < batch.sequence_numbers.size(); ++b) {
    Sums& sum = totals.domains[static_cast<size_t>(set.domain(batch.sequence_numbers[b]))];
    sum.loss += losses_B[static_cast<int64_t>(b)].item<double>();
    sum.tokens += tokens_B[static_cast<int64_t>(b)].item<int64_t>();
  }
  add_pairs(totals, output, units_of(set, batch), model->config());
}

void reduce(Totals& totals, parallel::Communicator& world) {
  if (world.size() == 1) return;
  world.all_reduce(totals.pairs_LDE, parallel::ReduceOp::kSum);
  world.all_reduce(totals.kept, parallel::ReduceOp::kSum);
  std::vector<Sums>& sums = totals.domains;
  at::Tensor values = at::empty({static_cast<int64_t>(sums.size()), 2}, at::kDouble);
  auto* numbers = values.data_ptr<double>();
  for (size_t d = 0; d < sums.size(); ++d) {
    numbers[2 * d] = sums[d].loss;
    numbers[2 * d + 1] = static_cast<double>(sums[d].tokens);
  }
  world.all_reduce(values, parallel::ReduceOp::kSum);
  for (size_t d = 0; d < sums.size(); ++d) {
    sums[d] = {numbers[2 * d], static_cast<int64_t>(numbers[2 * d + 1])};
  }
}

EvalReport report_of(const Sums& sums, int64_t text_bytes) {
  EvalReport report;
  report.tokens = sums.tokens;
  report.loss = sums.loss / static_cast<double>(std::max<int64_t>(sums.tokens, 1));
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

EvalReport report_of(const Totals& totals, const data::EvalSet& set, int64_t windows) {
  const std::vector<Sums>& sums = totals.domains;
  Sums all;
  for (const Sums& sum : sums) {
    all.loss += sum.loss;
    all.tokens += sum.tokens;
  }
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
  Totals totals(static_cast<int64_t>(set.domains().size()), model->config());
  for (int64_t begin = 0; begin < windows; begin += piece) {
    const int64_t mine = std::min(begin + world.rank() * plan.micro_sequences, windows);
    add_batch(totals, model, set, set.load(mine, std::min(mine + plan.micro_sequences, windows)),
              plan.drop);
    if (progress) progress(std::min(begin + piece, windows), windows);
  }
  reduce(totals, world);
  return report_of(totals, set, windows);
}

}  // namespace dsmoe::train
