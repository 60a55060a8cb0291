#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <functional>
#include <string>
#include <vector>

namespace dsmoe::nn {

/// What a backward pass computes again instead of finding it in memory; run.recompute.
struct Recompute {
  bool layer = false;    ///< whole layers: of each its input and its routing is kept
  bool norms = false;    ///< outputs of RMSNorms, where products alone need them
  bool mla_up = false;   ///< queries, keys and values from their latents
  bool swiglu = false;   ///< the activation of dense and shared experts
  bool experts = false;  ///< the routed experts' first product
  bool moe = false;      ///< MoE layers behind attention: its sum and the routing is kept

  /// Whether rows go out to the routed experts once more.
  [[nodiscard]] bool dispatches_again() const { return layer || moe; }
};

/// From the names in run.recompute.
[[nodiscard]] Recompute recompute_of(const std::vector<std::string>& names);

/// A tensor that a backward pass needs and can make again, bit for bit.
struct Remade final : torch::CustomClassHolder {
  explicit Remade(std::function<at::Tensor()> how) : make(std::move(how)) {}
  std::function<at::Tensor()> make;
};
using RemadePtr = c10::intrusive_ptr<Remade>;

/// Null, unless `wanted`: then `how`, run without gradient.
[[nodiscard]] RemadePtr remade_if(bool wanted, std::function<at::Tensor()> how);

/// As a custom function's saved_data carries it to the backward pass; of null: none.
[[nodiscard]] c10::IValue to_saved(const RemadePtr& again);
[[nodiscard]] RemadePtr from_saved(const c10::IValue& saved);

/// What the forward pass kept, or, where it kept how to make it, that made again.
[[nodiscard]] at::Tensor kept_or_made(const at::Tensor& kept, const RemadePtr& again);

}  // namespace dsmoe::nn
