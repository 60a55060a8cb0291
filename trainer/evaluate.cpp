#include "trainer/evaluate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dsmoe::train {
namespace {

struct Sums {
  double loss = 0;
  int64_t tokens = 0;
};

void add_batch(Sums& sums, nn::Model& model, const data::TokenBatch& batch, bool drop) {
  const auto output = model->forward(batch.inputs_BT, sequence_info(batch), drop);
  sums.loss += model->loss_sum(output, batch.targets_BT).item<double>();
  sums.tokens += batch.targets_BT.ge(0).sum().item<int64_t>();
}

void reduce(Sums& sums, parallel::Communicator& world) {
  if (world.size() == 1) return;
  at::Tensor values = torch::tensor({sums.loss, static_cast<double>(sums.tokens)}, at::kDouble);
  world.all_reduce(values, parallel::ReduceOp::kSum);
  sums = {values[0].item<double>(), static_cast<int64_t>(values[1].item<double>())};
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
  Sums sums;
  for (int64_t begin = 0; begin < windows; begin += piece) {
    const int64_t mine = std::min(begin + world.rank() * plan.micro_sequences, windows);
    add_batch(sums, model, set.load(mine, std::min(mine + plan.micro_sequences, windows)),
              plan.drop);
    if (progress) progress(std::min(begin + piece, windows), windows);
  }
  reduce(sums, world);
  EvalReport report;
  report.tokens = sums.tokens;
  report.loss = sums.loss / static_cast<double>(std::max<int64_t>(sums.tokens, 1));
  report.perplexity = std::exp(report.loss);
  report.bits_per_byte = sums.loss / std::numbers::ln2 /
                         static_cast<double>(std::max<int64_t>(set.text_bytes(windows), 1));
  return report;
}

}  // namespace dsmoe::train
