#include "trainer/optimizer.h"

#include <algorithm>

namespace dsmoe::train {
namespace {

nn::FlatPair zeros_like(const nn::FlatPair& pair) {
  return {at::zeros_like(pair.dense), at::zeros_like(pair.expert)};
}

/// The fused kernel divides by a float32 as it reads; float64 gradients are divided here instead,
/// so that nothing is rounded. Returns what is left for the kernel to do.
at::Tensor divide(nn::FlatPair& gradients, double divisor) {
  if (divisor == 1.0) return {};
  if (gradients.dense.scalar_type() == at::kFloat) return at::full({1}, divisor, at::kFloat);
  gradients.dense.div_(divisor);
  gradients.expert.div_(divisor);
  return {};
}

}  // namespace

Optimizer::Optimizer(const config::OptimizerConfig& config, nn::ParameterStore& store)
    : config_(config),
      store_(store),
      first_(zeros_like(store.weights())),
      second_(zeros_like(store.weights())) {}

void Optimizer::step(double lr, double gradient_divisor) {
  ++steps_;
  const auto options = store_.weights().dense.options().dtype(at::kFloat);
  const at::Tensor t = at::full({1}, static_cast<double>(steps_), options);
  const at::Tensor divisor = divide(store_.gradients(), gradient_divisor);
  const auto update = [&](nn::ParameterGroup group, int64_t begin, int64_t end, double decay) {
    if (begin == end) return;
    const auto part = [&](nn::FlatPair& pair) { return pair.of(group).slice(0, begin, end); };
    at::_fused_adamw_({part(store_.weights())}, {part(store_.gradients())}, {part(first_)},
                      {part(second_)}, {}, {t}, lr, config_.betas.first, config_.betas.second,
                      decay, config_.eps, /*amsgrad=*/false, /*maximize=*/false,
                      divisor.defined() ? std::optional<at::Tensor>(divisor) : std::nullopt);
  };
  const int64_t decayed = store_.decayed_dense();
  update(nn::ParameterGroup::kDense, 0, decayed, config_.weight_decay);
  update(nn::ParameterGroup::kDense, decayed, store_.weights().dense.numel(), 0.0);
  update(nn::ParameterGroup::kExpert, 0, store_.weights().expert.numel(), config_.weight_decay);
  store_.publish();
}

double clip_divisor(double norm, double clip_norm) {
  return clip_norm > 0 ? std::max(1.0, norm / clip_norm) : 1.0;
}

}  // namespace dsmoe::train
