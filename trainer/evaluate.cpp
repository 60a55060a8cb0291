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
  at::Tensor pairs_LE;  ///< chosen pairs of each expert in each MoE layer
};

int64_t moe_layers(const config::ModelConfig& model) {
  int64_t count = 0;
  for (int64_t i = 0; i < model.num_hidden_layers; ++i) count += model.is_moe_layer(i) ? 1 : 0;
  return count;
}

void add_pairs(at::Tensor& pairs_LE, const nn::ModelOutput& output, const data::TokenBatch& batch,
               const config::ModelConfig& model) {
  nn::LossUnits all{nn::Segments({0, batch.inputs_BT.numel()}), {0}, 1};
  if (batch.valid_BT.defined()) all.valid_N = batch.valid_BT.reshape({-1});
  for (size_t i = 0; i < output.routing.size(); ++i) {
    pairs_LE[static_cast<int64_t>(i)] +=
        nn::count_pairs(output.routing[i].experts_NK, {}, all, model)[0];
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
  add_pairs(totals.pairs_LE, output, batch, model->config());
}

void reduce(Totals& totals, parallel::Communicator& world) {
  if (world.size() == 1) return;
  world.all_reduce(totals.pairs_LE, parallel::ReduceOp::kSum);
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

double mean_max_vio(const at::Tensor& pairs_LE) {
  const int64_t layers = pairs_LE.size(0);
  const int64_t experts = pairs_LE.size(1);
  double sum = 0;
  for (int64_t i = 0; i < layers; ++i) {
    const auto* const pairs = pairs_LE.const_data_ptr<int64_t>() + i * experts;
    sum += max_vio({pairs, static_cast<size_t>(experts)});
  }
  return ratio(sum, layers);
}

EvalReport report_of(const Totals& totals, const data::EvalSet& set, int64_t windows) {
  const std::vector<Sums>& sums = totals.domains;
  Sums all;
  for (const Sums& sum : sums) {
    all.loss += sum.loss;
    all.tokens += sum.tokens;
  }
  EvalReport report = report_of(all, set.text_bytes(windows));
  report.max_vio = mean_max_vio(totals.pairs_LE);
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
  const config::ModelConfig& config = model->config();
  Totals totals{std::vector<Sums>(set.domains().size()),
                at::zeros({moe_layers(config), config.n_routed_experts}, at::kLong)};
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
