#include "trainer/route_logits.h"

#include <numeric>

#include "configs/errors.h"
#include "data/token_batch.h"
#include "modules/token_drop.h"
#include "parallel/local_communicator.h"
#include "trainer/loss_units.h"
#include "trainer/safetensors.h"
#include "trainer/sequence_info.h"

namespace dsmoe::train {
namespace {

std::string shape_text(const at::Tensor& tensor) {
  std::string text;
  for (const int64_t size : tensor.sizes())
    text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

[[noreturn]] void refuse(const std::string& path, const std::string& what,
                         const std::string& hint) {
  throw CheckpointError(path + ": " + what + "\nhint: " + hint);
}

void check_logits(const std::string& path, const at::Tensor& logits,
                  const config::ModelConfig& model) {
  const std::string wanted = "[sequences, tokens, " + std::to_string(model.n_routed_experts) + "]";
  const bool fits = logits.dim() == 3 && logits.numel() > 0 &&
                    logits.size(2) == model.n_routed_experts && logits.is_floating_point();
  if (!fits) {
    refuse(path, "tensor 'logits' is " + shape_text(logits) + ", the router's are " + wanted,
           "model.n_routed_experts must be what the logits were recorded with");
  }
  if (!logits.isfinite().all().item<bool>()) {
    refuse(path, "tensor 'logits' has values that are not finite", "record them from a sound run");
  }
}

/// A tensor of `size` numbers that may be missing.
at::Tensor optional_vector(const SafetensorsFile& file, const std::string& name, int64_t size) {
  if (!file.contains(name)) return {};
  at::Tensor values = file.read(name);
  if (values.dim() != 1 || values.size(0) != size) {
    refuse(
        file.path(),
        "tensor '" + name + "' is " + shape_text(values) + ", not [" + std::to_string(size) + "]",
        "it belongs to `logits`");
  }
  return values;
}

/// Rows without tokens of their own: only their numbers matter here.
data::TokenBatch batch_of(const RecordedLogits& recorded) {
  data::TokenBatch batch;
  batch.inputs_BT = at::zeros(recorded.logits_STE.sizes().slice(0, 2), at::kLong);
  batch.sequence_numbers = recorded.sequences;
  return batch;
}

at::Tensor everything(const nn::Routing& routing) {
  return at::ones(routing.experts_NK.sizes(), at::kBool);
}

}  // namespace

RecordedLogits read_logits(const std::string& path, const config::ModelConfig& model) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  RecordedLogits recorded;
  recorded.logits_STE = file.read("logits");
  check_logits(path, recorded.logits_STE, model);
  if (recorded.logits_STE.scalar_type() != at::kDouble) {
    recorded.logits_STE = recorded.logits_STE.to(at::kFloat);
  }
  recorded.bias_E = optional_vector(file, "bias", model.n_routed_experts);
  const int64_t count = recorded.logits_STE.size(0);
  const at::Tensor numbers = optional_vector(file, "sequences", count);
  recorded.sequences.resize(static_cast<size_t>(count));
  std::iota(recorded.sequences.begin(), recorded.sequences.end(), 0);
  if (numbers.defined()) {
    const at::Tensor whole = numbers.to(at::kLong).contiguous();
    recorded.sequences.assign(whole.const_data_ptr<int64_t>(),
                              whole.const_data_ptr<int64_t>() + count);
  }
  return recorded;
}

RoutedLogits route_logits(const RecordedLogits& recorded, const config::RunConfig& config) {
  const at::NoGradGuard no_grad;
  parallel::LocalCommunicator alone("ep");
  const data::TokenBatch batch = batch_of(recorded);
  const int64_t first = recorded.sequences.front();
  RoutedLogits out;
  const at::Tensor logits_NE = recorded.logits_STE.flatten(0, 1);
  const at::Tensor bias_E =
      recorded.bias_E.defined() ? recorded.bias_E.to(logits_NE.scalar_type()) : at::Tensor();
  out.routing = nn::route(logits_NE, bias_E, config.model);
  const nn::TokenDropper dropper(config.model, config.drop, config.batch, alone);
  out.kept_NK = dropper.keep(out.routing, sequence_info(batch, first, config), /*dropping=*/true);
  if (!out.kept_NK.defined()) out.kept_NK = everything(out.routing);
  const nn::RoutingRecord record{0,  out.routing.scores_NE, out.routing.experts_NK, out.kept_NK,
                                 {}, out.routing.logits_NE};
  const nn::LossUnits units = loss_units(batch, first, config, alone);
  out.counts = nn::count_routing(record, units, config.balance, config.model);
  out.losses = nn::balance_losses(record, out.counts, units, config.model);
  out.units = out.counts.tokens_U.gt(0).sum().item<int64_t>();
  return out;
}

}  // namespace dsmoe::train
