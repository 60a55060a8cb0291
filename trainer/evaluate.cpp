#include "trainer/evaluate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace dsmoe::train {
namespace {

struct Sums {
  double loss = 0;
  int64_t tokens = 0;
};

/// Adds each row to the sums of its domain.
void add_batch(std::vector<Sums>& sums, nn::Model& model, const data::EvalSet& set,
               const data::TokenBatch& batch, bool drop) {
  const auto output = model->forward(batch.inputs_BT, sequence_info(batch), drop);
  const at::Tensor losses_B =
      model->losses(output, batch.targets_BT).view(batch.targets_BT.sizes()).sum(1);
  const at::Tensor tokens_B = batch.targets_BT.ge(0).sum(1);
  for (size_t b = 0; b < batch.sequence_numbers.size(); ++b) {
    Sums& sum = sums[static_cast<size_t>(set.domain(batch.sequence_numbers[b]))];
    sum.loss += losses_B[static_cast<int64_t>(b)].item<double>();
    sum.tokens += tokens_B[static_cast<int64_t>(b)].item<int64_t>();
  }
}

void reduce(std::vector<Sums>& sums, parallel::Communicator& world) {
  if (world.size() == 1) return;
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

EvalReport report_of(const std::vector<Sums>& sums, const data::EvalSet& set, int64_t windows) {
  Sums all;
  for (const Sums& sum : sums) {
    all.loss += sum.loss;
    all.tokens += sum.tokens;
  }
  EvalReport report = report_of(all, set.text_bytes(windows));
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
  std::vector<Sums> sums(set.domains().size());
  for (int64_t begin = 0; begin < windows; begin += piece) {
    const int64_t mine = std::min(begin + world.rank() * plan.micro_sequences, windows);
    add_batch(sums, model, set, set.load(mine, std::min(mine + plan.micro_sequences, windows)),
              plan.drop);
    if (progress) progress(std::min(begin + piece, windows), windows);
  }
  reduce(sums, world);
  return report_of(sums, set, windows);
}

}  // namespace dsmoe::train
