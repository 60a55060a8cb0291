#include "modules/parameter_store.h"

#include <algorithm>
#include <cmath>

#include "configs/errors.h"
#include "modules/weight_class.h"
#include "modules/weight_names.h"

namespace dsmoe::nn {

/// One parameter of the model and its place in the weights.
struct ParameterStore::Placement {
  std::string path;
  at::Tensor parameter;
  ParameterGroup group;
  int64_t offset = 0;
};

namespace {

size_t index_of(ParameterGroup group) { return group == ParameterGroup::kExpert ? 1 : 0; }

/// Dense matrices, then dense norms, then experts; each in the model's order.
template <class Placement>
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
    int64_t& offset = next[index_of(p.group)];
    p.offset = offset;
    offset += p.parameter.numel();
  }
  return all;
}

template <class Placement>
FlatPair allocate(const std::vector<Placement>& all, at::ScalarType dtype) {
  int64_t sizes[2] = {0, 0};
  for (const Placement& p : all) sizes[index_of(p.group)] += p.parameter.numel();
  return {at::zeros({sizes[0]}, dtype), at::zeros({sizes[1]}, dtype)};
}

uint64_t hash_name(int64_t seed, const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325ULL ^ static_cast<uint64_t>(seed);  // FNV-1a
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  return hash ^ (hash >> 29);
}

/// Whether some slice of a parameter is trained, on whatever rank it lies: what ranks record for
/// the backward pass must not differ, or one would wait for the other.
bool trains_somewhere(const std::string& path, std::vector<int64_t> shape, int64_t num_experts,
                      const TrainingRate& rate) {
  if (is_expert_parameter(path)) shape[0] = num_experts;
  const auto slices = published_slices(path, shape, /*first_expert=*/0);
  return std::any_of(slices.begin(), slices.end(),
                     [&](const PublishedSlice& s) { return rate(s.name) > 0; });
}

[[noreturn]] void refuse_half(const std::string& path) {
  throw ConfigError("finetune.freeze: of " + path +
                    " only gate_proj or only up_proj is frozen\nhint: both are one matrix here; "
                    "freeze both or neither");
}

}  // namespace

TrainingRate train_all() {
  return [](const std::string&) { return 1.0; };
}

TrainingRate train_nothing() {
  return [](const std::string&) { return 0.0; };
}

at::Tensor FlatPair::view(const StoredTensor& tensor) const {
  return of(tensor.group).narrow(0, tensor.offset, tensor.numel).view(tensor.shape);
}

at::Tensor FlatPair::state_view(const StoredTensor& tensor) const {
  return of(tensor.group).narrow(0, tensor.state, tensor.numel).view(tensor.shape);
}

ParameterStore::ParameterStore(Model& model, at::ScalarType compute, const TrainingRate& rate) {
  const at::NoGradGuard no_grad;
  const auto placements = place<Placement>(model);
  const auto precise = compute == at::kDouble ? at::kDouble : at::kFloat;
  weights_ = allocate(placements, compute);
  const int64_t held = weights_.expert.numel() == 0 ? 0 : model->experts_held();
  for (const Placement& p : placements) add_tensors(p, rate, model->expert_rank() * held);
  gradients_ = make_state(precise);
  if (compute != precise && !runs_.empty()) masters_ = make_state(precise);
  for (const Placement& p : placements) attach(model, p, rate);
  add_buffers(model, precise);
}

FlatPair ParameterStore::make_state(at::ScalarType dtype) const {
  return {at::zeros({state_sizes_[0]}, dtype), at::zeros({state_sizes_[1]}, dtype)};
}

void ParameterStore::add_tensors(const Placement& p, const TrainingRate& rate,
                                 int64_t first_expert) {
  for (const auto& s : published_slices(p.path, p.parameter.sizes().vec(), first_expert)) {
    StoredTensor tensor{s.name,
                        s.shape,
                        p.group,
                        p.offset + s.offset,
                        c10::multiply_integers(s.shape),
                        rate(s.name),
                        state_sizes_[index_of(p.group)],
                        s.shape.size() > 1};
    if (tensor.trains()) {
      state_sizes_[index_of(p.group)] += tensor.numel;
      add_run(tensor);
    }
    tensors_.push_back(std::move(tensor));
  }
}

void ParameterStore::add_run(const StoredTensor& t) {
  if (!runs_.empty()) {
    TrainedRun& last = runs_.back();
    if (last.group == t.group && last.offset + last.numel == t.offset && last.decays == t.decays &&
        last.rate == t.rate) {
      last.numel += t.numel;
      return;
    }
  }
  runs_.push_back({t.group, t.offset, t.state, t.numel, t.decays, t.rate});
}

/// Makes the parameter a view of the weights, and its gradient one of the gradients: of a stack of
/// experts that of the trained ones alone, one after the other.
void ParameterStore::attach(Model& model, const Placement& p, const TrainingRate& rate) {
  at::Tensor parameter = p.parameter;
  const int64_t numel = parameter.numel();
  parameter.set_data(weights_.of(p.group).narrow(0, p.offset, numel).view(parameter.sizes()));
  parameter.set_requires_grad(
      trains_somewhere(p.path, parameter.sizes().vec(), model->config().n_routed_experts, rate));
  const bool stacked = is_expert_parameter(p.path);
  const int64_t parts = stacked ? parameter.size(0) : 1;
  const int64_t part = numel / std::max<int64_t>(parts, 1);
  std::vector<int64_t> slots(static_cast<size_t>(parts), -1);
  int64_t state = -1, trained = 0, covered = 0;
  for (const StoredTensor& t : tensors_) {
    const bool inside = t.group == p.group && t.offset >= p.offset && t.offset < p.offset + numel;
    if (!inside || !t.trains()) continue;
    if (state < 0) state = t.state;
    covered += t.numel;
    auto& slot = slots[static_cast<size_t>((t.offset - p.offset) / part)];
    if (slot < 0) slot = trained++;
  }
  if (covered != trained * part) refuse_half(p.path);
  if (stacked) model->set_trained_experts(p.path, slots);
  if (trained == 0) return;
  std::vector<int64_t> sizes = parameter.sizes().vec();
  if (stacked) sizes[0] = trained;
  parameter.mutable_grad() = gradients_.of(p.group).narrow(0, state, covered).view(sizes);
}

void ParameterStore::add_buffers(Model& model, at::ScalarType precise) {
  for (const auto& item : model->named_buffers()) {
    item.value().set_data(item.value().to(precise));
    buffers_.push_back({"model." + item.key(), item.value()});
  }
}

at::Tensor ParameterStore::precise(const StoredTensor& tensor) const {
  return has_masters() && tensor.trains() ? masters_.state_view(tensor) : weights_.view(tensor);
}

bool ParameterStore::trains_routers() const {
  return std::all_of(tensors_.begin(), tensors_.end(), [](const StoredTensor& t) {
    return t.trains() || class_of(t.name) != WeightClass::kRouter;
  });
}

void ParameterStore::zero_gradients() {
  gradients_.dense.zero_();
  gradients_.expert.zero_();
}

void ParameterStore::publish() {
  if (!has_masters()) return;
  for (const TrainedRun& run : runs_) {
    weights_.of(run.group)
        .narrow(0, run.offset, run.numel)
        .copy_(masters_.of(run.group).narrow(0, run.state, run.numel));
  }
}

void ParameterStore::initialize(int64_t seed, double std) {
  for (const StoredTensor& tensor : tensors_) {
    at::Tensor values = precise(tensor);
    if (tensor.shape.size() == 1) {
      values.fill_(1.0);
    } else {
      values.normal_(0.0, std, at::detail::createCPUGenerator(hash_name(seed, tensor.name)));
    }
  }
  for (const StoredBuffer& buffer : buffers_) buffer.values.zero_();
  publish();
}

void ParameterStore::initialize_adapters(int64_t seed) {
  for (const StoredTensor& tensor : tensors_) {
    if (!is_adapter(tensor.name)) continue;
    at::Tensor values = precise(tensor);
    if (tensor.name.find(".lora_B.") != std::string::npos) {
      values.zero_();
    } else {
      const double bound = 1.0 / std::sqrt(static_cast<double>(tensor.shape[1]));
      values.uniform_(-bound, bound, at::detail::createCPUGenerator(hash_name(seed, tensor.name)));
    }
  }
  publish();
}

}  // namespace dsmoe::nn
