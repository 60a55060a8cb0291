#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <span>
#include <string>
#include <vector>

#include "modules/adapter.h"
#include "modules/recompute.h"

namespace dsmoe::nn {

/// A matrix without bias, and the low-rank adapters beside it, if it has some. Two published
/// matrices may be one here, one above the other (gate_proj and up_proj): then each has its own.
class LinearLayerImpl final : public torch::nn::Module {
 public:
  LinearLayerImpl(int64_t out, int64_t in);

  /// x_NI; returns y_NO. See nn::linear. row_keys: see drop_inputs.
  at::Tensor forward(const at::Tensor& x_NI, std::span<const uint64_t> row_keys = {},
                     const RemadePtr& again = {});

  /// What the one adapter adds to W x, not multiplied out; undefined without adapters.
  [[nodiscard]] LowRankProduct low_rank(const at::Tensor& x_NI,
                                        std::span<const uint64_t> row_keys = {}) const;

  [[nodiscard]] const at::Tensor& weight() const { return weight_; }

  /// Adds the plan's adapters: one, or one for each of `parts`, equal cuts of the rows by name.
  /// path: of this layer in the model.
  void adapt(const AdapterPlan& plan, const std::string& path,
             const std::vector<std::string>& parts = {});

 private:
  [[nodiscard]] at::Tensor adapted(const at::Tensor& x_NI, std::span<const uint64_t> row_keys,
                                   const RemadePtr& again) const;

  at::Tensor weight_;
  std::vector<Adapter> adapters_;
};
TORCH_MODULE(LinearLayer);

}  // namespace dsmoe::nn
