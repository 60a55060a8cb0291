#include "trainer/evaluate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "modules/balance_counts.h"
#include "parallel/pipeline_executor.h"
#include "trainer/load_stats.h"
#include "trainer/ratio.h"
#include "trainer/step_work.h"

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
  int64_t stretch;              ///< positions told together; 0: none are told
  std::vector<Sums> positions;  ///< by stretch of the window

  Totals(const data::EvalSet& set, int64_t told_together, const config::ModelConfig& model)
      : domains(set.domains().size()),
        pairs_LDE(at::zeros(
            {model.num_moe_layers(), static_cast<int64_t>(domains.size()), model.n_routed_experts},
            at::kLong)),
        kept(at::zeros({1}, at::kLong)),
        stretch(told_together),
        positions(stretch == 0 ? 0 : static_cast<size_t>((set.window() - 1) / stretch + 1)) {}
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
  for (const nn::RoutingRecord& record : output.routing) {
    totals.pairs_LDE[model.moe_layers_before(record.layer)] +=
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
      if (totals.stretch == 0) continue;
      totals.positions[static_cast<size_t>(t / totals.stretch)].add({losses[b][t], 1});
    }
  }
}

/// The forward passes of an evaluation through the slices of this rank.
class EvaluationStage final : public parallel::ForwardStage {
 public:
  using Progress = std::function<void(int64_t, int64_t)>;

  EvaluationStage(nn::Model& model, const data::EvalSet& set, const EvalPlan& plan, int64_t windows,
                  const parallel::Communicator& data, const Progress& progress)
      : model_(model),
        set_(set),
        plan_(plan),
        windows_(windows),
        data_(data),
        progress_(progress),
        totals_(set, plan.stretch, model->config()) {}

  /// Pieces of the set, each a micro-batch of every rank of the stage.
  [[nodiscard]] int64_t num_pieces() const { return (windows_ + piece() - 1) / piece(); }
  [[nodiscard]] Totals& totals() { return totals_; }

  [[nodiscard]] at::Tensor make_message(int64_t number) override {
    return hidden_rows_like(model_, load(number));
  }

  at::Tensor forward(int64_t number, int64_t slice, const at::Tensor& input) override {
    const data::TokenBatch batch = load(number);
    nn::SequenceInfo sequences = sequence_info(batch);
    sequences.segments = nn::Segments::uniform(batch.inputs_BT.size(0), batch.inputs_BT.size(1));
    const auto output =
        model_->run_slice(static_cast<size_t>(slice), input.defined() ? input : batch.inputs_BT,
                          sequences, plan_.drop);
    const nn::LayerSlice& layers = model_->slices()[static_cast<size_t>(slice)];
    if (layers.last(model_->config())) {
      add_losses(totals_, set_, batch,
                 model_->losses(output, batch.targets_BT).view(batch.targets_BT.sizes()).cpu());
    }
    add_pairs(totals_, output, units_of(set_, batch), model_->config());
    const bool done = slice + 1 == static_cast<int64_t>(model_->slices().size());
    if (progress_ && done) progress_(std::min((number + 1) * piece(), windows_), windows_);
    return output.hidden_NM;
  }

 private:
  [[nodiscard]] int64_t piece() const { return plan_.micro_sequences * data_.size(); }
  [[nodiscard]] data::TokenBatch load(int64_t number) const {
    const int64_t begin =
        std::min(number * piece() + data_.rank() * plan_.micro_sequences, windows_);
    return set_.load(begin, std::min(begin + plan_.micro_sequences, windows_));
  }

  nn::Model& model_;
  const data::EvalSet& set_;
  const EvalPlan& plan_;
  int64_t windows_;
  const parallel::Communicator& data_;
  const Progress& progress_;
  Totals totals_;
};

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
  if (totals.stretch > 0) reduce(totals.positions, world);
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

/// The stretches with a target.
std::vector<PositionLoss> by_position(const Totals& totals, int64_t window) {
  std::vector<PositionLoss> losses;
  int64_t from = 0;
  for (const Sums& sum : totals.positions) {
    const int64_t to = std::min(from + totals.stretch, window);
    if (sum.tokens > 0) losses.push_back({from, to, sum.mean(), sum.tokens});
    from = to;
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
                    parallel::ProcessGroups& groups,
                    const std::function<void(int64_t, int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  const int64_t windows = std::min(plan.windows, set.num_windows());
  EvaluationStage stage(model, set, plan, windows, *groups.data, progress);
  parallel::run_forward_passes(stage, stage.num_pieces(),
                               static_cast<int64_t>(model->slices().size()), *groups.forward);
  Totals& totals = stage.totals();
  reduce(totals, groups.world);
  EvalReport report = report_of(totals, set, windows);
  report.positions = by_position(totals, set.window());
  return report;
}

}  // namespace dsmoe::train
