#include "trainer/optimizer.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "modules/dispatch_type.h"
#include "modules/kernels/kernel_table.h"

namespace dsmoe::train {
namespace {

/// Numbers taken at a time, so that weights are still in the cache when they are copied.
constexpr int64_t kPart = 1 << 14;

nn::FlatPair zeros_like(const nn::FlatPair& pair) {
  return {at::zeros_like(pair.dense), at::zeros_like(pair.expert)};
}

/// Constants of step t, in the type of the masters.
template <class A>
nn::kernels::AdamW<A> constants(const config::OptimizerConfig& config, int64_t t, double lr,
                                double decay, double divisor) {
  const auto [beta1, beta2] = config.betas;
  const auto steps = static_cast<double>(t);
  return {.beta1 = static_cast<A>(beta1),
          .beta2 = static_cast<A>(beta2),
          .eps = static_cast<A>(config.eps),
          .shrink = static_cast<A>(1.0 - lr * decay),
          .rate = static_cast<A>(lr / (1.0 - std::pow(beta1, steps))),
          .root = static_cast<A>(std::sqrt(1.0 - std::pow(beta2, steps))),
          .divisor = static_cast<A>(divisor)};
}

}  // namespace

Optimizer::Optimizer(const config::OptimizerConfig& config, nn::ParameterStore& store)
    : config_(config),
      store_(store),
      first_(zeros_like(store.weights())),
      second_(zeros_like(store.weights())) {}

void Optimizer::step(double lr, double gradient_divisor) {
  ++steps_;
  const auto update = [&](nn::ParameterGroup group, int64_t begin, int64_t end, double decay) {
    const at::Tensor &weights = store_.weights().of(group), &compute = store_.compute().of(group);
    const bool copies = !compute.is_same(weights);
    DSMOE_DISPATCH(compute, [&] {
      using master = nn::kernels::opmath_t<scalar_t>;
      const auto by = constants<master>(config_, steps_, lr, decay, gradient_divisor);
      const auto* gradient = store_.gradients().of(group).const_data_ptr<master>();
      auto* weight = weights.mutable_data_ptr<master>();
      auto* first = first_.of(group).mutable_data_ptr<master>();
      auto* second = second_.of(group).mutable_data_ptr<master>();
      auto* copy = copies ? compute.mutable_data_ptr<scalar_t>() : nullptr;
      at::parallel_for(begin, end, kPart, [&](int64_t part, int64_t part_end) {
        for (int64_t i = part; i < part_end; i += kPart) {
          nn::kernels::kernels<scalar_t>().adamw(by, gradient + i, weight + i, first + i,
                                                 second + i, copies ? copy + i : nullptr,
                                                 std::min(kPart, part_end - i));
        }
      });
    });
  };
  const int64_t decayed = store_.decayed_dense();
  update(nn::ParameterGroup::kDense, 0, decayed, config_.weight_decay);
  update(nn::ParameterGroup::kDense, decayed, store_.weights().dense.numel(), 0.0);
  update(nn::ParameterGroup::kExpert, 0, store_.weights().expert.numel(), config_.weight_decay);
}

double clip_divisor(double norm, double clip_norm) {
  return clip_norm > 0 ? std::max(1.0, norm / clip_norm) : 1.0;
}

}  // namespace dsmoe::train
