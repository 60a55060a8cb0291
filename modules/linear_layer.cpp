#include "modules/linear_layer.h"

#include "modules/linear.h"

namespace dsmoe::nn {

LinearLayerImpl::LinearLayerImpl(int64_t out, int64_t in)
    : weight_(register_parameter("weight", at::empty({out, in}))) {}

at::Tensor LinearLayerImpl::forward(const at::Tensor& x_NI) {
  const at::Tensor y_NO = nn::linear(x_NI, weight_);
  return adapters_.empty() ? y_NO : y_NO + adapted(x_NI);
}

at::Tensor LinearLayerImpl::adapted(const at::Tensor& x_NI) const {
  std::vector<at::Tensor> parts;
  for (const Adapter& adapter : adapters_) {
    parts.push_back(nn::linear(nn::linear(x_NI, adapter.a), adapter.b) * adapter.scale);
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts, 1);
}

void LinearLayerImpl::adapt(int64_t rank, double scale, const std::vector<std::string>& parts) {
  const int64_t out = weight_.size(0), in = weight_.size(1);
  const std::vector<std::string> names = parts.empty() ? std::vector<std::string>{""} : parts;
  for (const std::string& name : names) {
    const int64_t rows = out / static_cast<int64_t>(names.size());
    adapters_.push_back(
        register_adapter(*this, name.empty() ? "" : name + "_", {rank, in}, {rows, rank}, scale));
  }
}

}  // namespace dsmoe::nn
