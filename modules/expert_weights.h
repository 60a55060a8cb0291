#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <vector>

#include "modules/adapter.h"
#include "modules/expert_slices.h"

namespace dsmoe::nn {

/// What a layer's two products are made of: the stacks of its experts here, and what is trained of
/// them.
struct ExpertWeights : torch::CustomClassHolder {
  at::Tensor gate_up;  ///< [e, 2F, M]
  at::Tensor down;     ///< [e, M, F]
  Adapter gate_up_adapter, down_adapter;
  std::vector<int64_t> gate_up_slots, down_slots;  ///< as ExpertsImpl::set_trained takes them
  bool recompute = false;                          ///< the first product in the backward pass
};
using ExpertWeightsPtr = c10::intrusive_ptr<ExpertWeights>;

/// The matrices of one kind of all experts, and the adapters beside them. Without graphs.
class ExpertStack {
 public:
  ExpertStack(const at::Tensor& weight, const Adapter& adapter);

  /// y = x W^T + scale (x A^T) B^T, of one expert.
  void multiply(at::Tensor& y, const at::Tensor& x, int64_t expert) const;
  /// dx, from dy.
  void turn_back(at::Tensor& dx, const at::Tensor& dy, int64_t expert) const;
  /// The adapter's gradients, into those of its matrices.
  void add_adapter_gradient(const Adapter& gradient, const at::Tensor& dy, const at::Tensor& x,
                            int64_t expert) const;

 private:
  at::Tensor weight_;
  Adapter adapter_;
};

/// The gradients of a stack's trained experts.
class StackGradient {
 public:
  StackGradient(const at::Tensor& stack, const std::vector<int64_t>& slots);

  [[nodiscard]] bool trains(int64_t expert) const;
  /// gradient += dy^T x, unless the expert is frozen.
  void add(int64_t expert, const at::Tensor& dy, const at::Tensor& x) const;

 private:
  std::vector<int64_t> slots_;
  at::Tensor gradient_;
};

/// What the weight gradients of one expert are made of.
struct WeightTerms {
  at::Tensor dy;  ///< undefined: to be gathered again
  at::Tensor activation, dh;
};

/// Adds the weight gradients of a layer's experts.
class ExpertGradients {
 public:
  ExpertGradients(ExpertWeightsPtr experts, at::Tensor rows_RM, at::Tensor dout_RM,
                  at::Tensor pair_rows_P);

  /// Whether an expert, or an adapter beside it, has a gradient.
  [[nodiscard]] bool trains(int64_t expert) const;
  void add(const ExpertSlice& s, const WeightTerms& terms) const;

 private:
  ExpertWeightsPtr experts_;
  at::Tensor rows_RM_;
  at::Tensor dout_RM_;
  at::Tensor pair_rows_P_;
  StackGradient gate_up_gradient_;
  StackGradient down_gradient_;
  Adapter gate_up_lora_;
  Adapter down_lora_;
};

}  // namespace dsmoe::nn
