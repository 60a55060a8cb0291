#include "modules/linear_layer.h"

#include "modules/linear.h"
#include "modules/name_hash.h"

namespace dsmoe::nn {

LinearLayerImpl::LinearLayerImpl(int64_t out, int64_t in)
    : weight_(register_parameter("weight", at::empty({out, in}))) {}

at::Tensor LinearLayerImpl::forward(const at::Tensor& x_NI, std::span<const uint64_t> row_keys,
                                    const RemadePtr& again) {
  at::Tensor y_NO = nn::linear(x_NI, weight_, again);
  return adapters_.empty() ? y_NO : y_NO.add_(adapted(x_NI, row_keys, again));
}

namespace {

LowRankProduct product(const Adapter& adapter, const at::Tensor& x_NI,
                       std::span<const uint64_t> row_keys, const RemadePtr& again = {}) {
  const at::Tensor kept_NI = drop_inputs(x_NI, adapter.dropout, row_keys);
  const bool same = kept_NI.is_same(x_NI);
  return {nn::linear(kept_NI, adapter.a, same ? again : RemadePtr()) * adapter.scale, adapter.b};
}

}  // namespace

LowRankProduct LinearLayerImpl::low_rank(const at::Tensor& x_NI,
                                         std::span<const uint64_t> row_keys) const {
  if (adapters_.empty()) return {};
  TORCH_CHECK(adapters_.size() == 1, "a matrix of ", adapters_.size(), " adapters is no product");
  return product(adapters_.front(), x_NI, row_keys);
}

at::Tensor LinearLayerImpl::adapted(const at::Tensor& x_NI, std::span<const uint64_t> row_keys,
                                    const RemadePtr& again) const {
  std::vector<at::Tensor> parts;
  for (const Adapter& adapter : adapters_) {
    const LowRankProduct low = product(adapter, x_NI, row_keys, again);
    parts.push_back(nn::linear(low.x_NR, low.b_OR));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts, 1);
}

void LinearLayerImpl::adapt(const AdapterPlan& plan, const std::string& path,
                            const std::vector<std::string>& parts) {
  const int64_t out = weight_.size(0), in = weight_.size(1);
  const std::vector<std::string> names = parts.empty() ? std::vector<std::string>{""} : parts;
  for (const std::string& name : names) {
    const int64_t rows = out / static_cast<int64_t>(names.size());
    adapters_.push_back(register_adapter(*this, name.empty() ? "" : name + "_", {plan.rank, in},
                                         {rows, plan.rank}, plan.scale));
    adapters_.back().dropout = {plan.dropout, hash_name(/*seed=*/0, path + "." + name)};
  }
}

}  // namespace dsmoe::nn
