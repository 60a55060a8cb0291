#include "trainer/optimizer.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "modules/dispatch_type.h"
#include "modules/kernels/kernel_table.h"
#include "modules/own_kernels.h"

namespace dsmoe::train {
namespace {

/// Numbers taken at a time, so that weights are still in the cache when they are copied.
constexpr int64_t kPart = 1 << 14;

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

/// The kernel's equations by LibTorch's operations. copy: undefined where weights are their own
/// masters.
void update_by_library(const nn::kernels::AdamW<double>& by, const at::Tensor& gradient,
                       const at::Tensor& weight, const at::Tensor& first, const at::Tensor& second,
                       const at::Tensor& copy) {
  const at::Tensor g = gradient / by.divisor;
  first.mul_(by.beta1).add_(g, 1.0 - by.beta1);
  second.mul_(by.beta2).addcmul_(g, g, 1.0 - by.beta2);
  const at::Tensor root = second.sqrt().div_(by.root).add_(by.eps);
  weight.mul_(by.shrink).addcdiv_(first, root, -by.rate);
  if (copy.defined()) copy.copy_(weight);
}

}  // namespace

Optimizer::Optimizer(const config::OptimizerConfig& config, nn::ParameterStore& store)
    : config_(config),
      store_(store),
      first_(store.make_owned_state()),
      second_(store.make_owned_state()) {}

void Optimizer::step(double lr, double gradient_divisor) {
  ++steps_;
  for (const nn::TrainedRun& run : store_.owned_runs())
    update(run, lr * run.rate, gradient_divisor);
}

void Optimizer::update(const nn::TrainedRun& run, double lr, double gradient_divisor) {
  const at::Tensor weights = store_.weights().of(run.group).narrow(0, run.offset, run.numel);
  const auto state_of = [&](nn::FlatPair& pair) {
    return pair.of(run.group).narrow(0, run.state, run.numel);
  };
  const at::Tensor gradients = store_.gradients().of(run.group).narrow(
      0, store_.share(run.group).begin + run.state, run.numel);
  const bool copies = store_.has_masters();
  const at::Tensor masters = copies ? state_of(store_.masters()) : weights;
  if (!nn::has_own_kernels(weights)) {
    const at::NoGradGuard no_grad;
    return update_by_library(
        constants<double>(config_, steps_, lr, run.decays ? config_.weight_decay : 0.0,
                          gradient_divisor),
        gradients, masters, state_of(first_), state_of(second_), copies ? weights : at::Tensor());
  }
  DSMOE_DISPATCH(weights, [&] {
    using master = nn::kernels::opmath_t<scalar_t>;
    const auto by = constants<master>(config_, steps_, lr, run.decays ? config_.weight_decay : 0.0,
                                      gradient_divisor);
    const auto* gradient = gradients.const_data_ptr<master>();
    auto* weight = masters.mutable_data_ptr<master>();
    auto* first = state_of(first_).mutable_data_ptr<master>();
    auto* second = state_of(second_).mutable_data_ptr<master>();
    auto* copy = copies ? weights.mutable_data_ptr<scalar_t>() : nullptr;
    at::parallel_for(0, run.numel, kPart, [&](int64_t part, int64_t end) {
      for (int64_t i = part; i < end; i += kPart) {
        nn::kernels::kernels<scalar_t>().adamw(by, gradient + i, weight + i, first + i, second + i,
                                               copies ? copy + i : nullptr,
                                               std::min(kPart, end - i));
      }
    });
  });
}

double clip_divisor(double norm, double clip_norm) {
  return clip_norm > 0 ? std::max(1.0, norm / clip_norm) : 1.0;
}

}  // namespace dsmoe::train
