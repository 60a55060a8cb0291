#include "trainer/eval_dump.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <vector>

#include "trainer/safetensors_writer.h"

namespace dsmoe::train {
namespace {

using BatchBody = std::function<void(const data::TokenBatch&)>;

void for_batches(const data::EvalSet& set, const EvalPlan& plan, const BatchBody& body) {
  for (int64_t begin = 0; begin < plan.windows; begin += plan.micro_sequences) {
    body(set.load(begin, std::min(plan.windows, begin + plan.micro_sequences)));
  }
}

int64_t count_targets(const data::EvalSet& set, const EvalPlan& plan) {
  int64_t count = 0;
  for_batches(set, plan, [&](const data::TokenBatch& batch) {
    count += batch.targets_BT.ge(0).sum().item<int64_t>();
  });
  return count;
}

/// Writes the file beside its place and renames it when it is whole.
void write_aside(const std::string& path, const std::function<void(const std::string&)>& write) {
  const std::string aside = path + ".tmp";
  write(aside);
  std::filesystem::rename(aside, path);
}

}  // namespace

void dump_logits(nn::Model& model, const data::EvalSet& set, const EvalPlan& plan,
                 const std::string& path) {
  const at::NoGradGuard no_grad;
  const int64_t vocabulary = model->config().vocab_size;
  const auto type = model->dtype() == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t tokens = count_targets(set, plan);
  write_aside(path, [&](const std::string& aside) {
    SafetensorsWriter writer(
        aside, {{"logits", type, {tokens, vocabulary}}, {"targets", at::kLong, {tokens}}});
    int64_t done = 0;
    for_batches(set, plan, [&](const data::TokenBatch& batch) {
      const auto output = model->forward(batch.inputs_BT, sequence_info(batch), /*dropping=*/false);
      const at::Tensor scored = batch.targets_BT.reshape({-1}).ge(0).nonzero().flatten();
      const at::Tensor logits = model->logits(output.hidden_NM.index_select(0, scored)).to(type);
      writer.write_elements("logits", done * vocabulary, logits.flatten());
      writer.write_elements("targets", done,
                            batch.targets_BT.reshape({-1}).index_select(0, scored));
      done += scored.numel();
    });
    writer.finish();
  });
}

void dump_gradients(nn::Model& model, nn::ParameterStore& store, const data::EvalSet& set,
                    const EvalPlan& plan, const std::string& path) {
  const auto tokens = static_cast<double>(count_targets(set, plan));
  store.zero_gradients();
  for_batches(set, plan, [&](const data::TokenBatch& batch) {
    const auto output = model->forward(batch.inputs_BT, sequence_info(batch), /*dropping=*/false);
    (model->loss_sum(output, batch.targets_BT) / tokens).backward();
  });
  std::vector<NamedTensor> gradients;
  for (const nn::StoredTensor& t : store.tensors()) {
    gradients.push_back({t.name, store.gradients().state_view(t)});
  }
  write_aside(path, [&](const std::string& aside) { write_safetensors(aside, gradients); });
}

}  // namespace dsmoe::train
