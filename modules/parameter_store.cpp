#include "modules/parameter_store.h"

#include <algorithm>

#include "modules/weight_names.h"

namespace dsmoe::nn {
namespace {

struct Placement {
  std::string path;
  at::Tensor parameter;
  ParameterGroup group;
  int64_t offset = 0;
};

/// Dense matrices, then dense norms, then experts; each in the model's order.
std::vector<Placement> place(Model& model) {
  std::vector<Placement> all;
  for (const auto& item : model->named_parameters()) {
    const auto group =
        is_expert_parameter(item.key()) ? ParameterGroup::kExpert : ParameterGroup::kDense;
    all.push_back({item.key(), item.value(), group});
  }
  std::stable_sort(all.begin(), all.end(), [](const Placement& a, const Placement& b) {
    return std::pair(a.group, a.parameter.dim() == 1) < std::pair(b.group, b.parameter.dim() == 1);
  });
  int64_t next[2] = {0, 0};
  for (Placement& p : all) {
    int64_t& offset = next[p.group == ParameterGroup::kExpert ? 1 : 0];
    p.offset = offset;
    offset += p.parameter.numel();
  }
  return all;
}

FlatPair allocate(const std::vector<Placement>& all, at::ScalarType dtype) {
  int64_t sizes[2] = {0, 0};
  for (const Placement& p : all) {
    sizes[p.group == ParameterGroup::kExpert ? 1 : 0] += p.parameter.numel();
  }
  return {at::zeros({sizes[0]}, dtype), at::zeros({sizes[1]}, dtype)};
}

at::Tensor part(FlatPair& flat, const Placement& p) {
  return flat.of(p.group).narrow(0, p.offset, p.parameter.numel()).view(p.parameter.sizes());
}

uint64_t hash_name(int64_t seed, const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325ULL ^ static_cast<uint64_t>(seed);  // FNV-1a
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  return hash ^ (hash >> 29);
}

}  // namespace

at::Tensor FlatPair::view(const StoredTensor& tensor) const {
  const at::Tensor& flat = tensor.group == ParameterGroup::kDense ? dense : expert;
  return flat.narrow(0, tensor.offset, tensor.numel).view(tensor.shape);
}

ParameterStore::ParameterStore(Model& model, at::ScalarType compute, Purpose purpose) {
  const at::NoGradGuard no_grad;
  const bool training = purpose == Purpose::kTraining;
  auto placements = place(model);
  const auto precise = compute == at::kDouble ? at::kDouble : at::kFloat;
  const auto master = training ? precise : compute;
  weights_ = allocate(placements, master);
  if (training) gradients_ = allocate(placements, master);
  compute_ = compute == master ? weights_ : allocate(placements, compute);
  const int64_t held = weights_.expert.numel() == 0 ? 0 : model->experts_held();
  for (Placement& p : placements) {
    p.parameter.set_data(part(compute_, p));
    p.parameter.set_requires_grad(training);
    if (training) p.parameter.mutable_grad() = part(gradients_, p);
    add_tensors(p.path, p.parameter, p.group, p.offset, model->expert_rank() * held);
  }
  add_buffers(model, precise);
}

void ParameterStore::add_tensors(const std::string& path, const at::Tensor& parameter,
                                 ParameterGroup group, int64_t offset, int64_t first_expert) {
  for (const auto& s : published_slices(path, parameter.sizes().vec(), first_expert)) {
    tensors_.push_back(
        {s.name, s.shape, group, offset + s.offset, c10::multiply_integers(s.shape)});
  }
  if (group == ParameterGroup::kDense && parameter.dim() > 1) {
    decayed_dense_ = offset + parameter.numel();
  }
}

void ParameterStore::add_buffers(Model& model, at::ScalarType master) {
  for (const auto& item : model->named_buffers()) {
    item.value().set_data(item.value().to(master));
    buffers_.push_back({"model." + item.key(), item.value()});
  }
}

void ParameterStore::zero_gradients() {
  gradients_.dense.zero_();
  gradients_.expert.zero_();
}

void ParameterStore::publish() {
  if (compute_.dense.is_same(weights_.dense)) return;
  compute_.dense.copy_(weights_.dense);
  compute_.expert.copy_(weights_.expert);
}

void ParameterStore::initialize(int64_t seed, double std) {
  for (const StoredTensor& tensor : tensors_) {
    at::Tensor values = weights_.view(tensor);
    if (tensor.shape.size() == 1) {
      values.fill_(1.0);
    } else {
      values.normal_(0.0, std, at::detail::createCPUGenerator(hash_name(seed, tensor.name)));
    }
  }
  for (const StoredBuffer& buffer : buffers_) buffer.values.zero_();
  publish();
}

}  // namespace dsmoe::nn
