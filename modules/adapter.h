#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "modules/input_dropout.h"

namespace dsmoe::nn {

/// A low-rank adapter beside a frozen matrix: y = W x + scale * B A x (LoRA, arXiv 2106.09685).
/// a [R, I], b [O, R]; of a stack of experts [e, R, I] and [e, O, R]. Undefined: none.
struct Adapter {
  at::Tensor a;
  at::Tensor b;
  double scale = 0;
  InputDropout dropout{};  ///< of x, on the way to A alone

  [[nodiscard]] bool defined() const { return a.defined(); }
};

/// What an adapter adds to y = W x, as two factors: x_NR b_OR^T. Undefined: nothing.
struct LowRankProduct {
  at::Tensor x_NR;
  at::Tensor b_OR;

  [[nodiscard]] bool defined() const { return x_NR.defined(); }
};

/// Registers an adapter's two matrices as parameters `prefix`lora_A and `prefix`lora_B.
[[nodiscard]] Adapter register_adapter(torch::nn::Module& module, const std::string& prefix,
                                       std::vector<int64_t> a_shape, std::vector<int64_t> b_shape,
                                       double scale);

/// Which matrices get adapters, and of what kind.
struct AdapterPlan {
  int64_t rank = 0;    ///< 0: none do
  double scale = 0;    ///< alpha / rank
  double dropout = 0;  ///< of the inputs in training
  std::function<bool(const std::string& published_name)> adapts;
};

/// Whether a published name is an adapter's: peft's `base_model.model.NAME.lora_A.weight`.
[[nodiscard]] bool is_adapter(const std::string& published_name);

}  // namespace dsmoe::nn
