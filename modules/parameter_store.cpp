#include "modules/parameter_store.h"

#include <algorithm>
#include <cmath>

#include "configs/errors.h"
#include "modules/name_hash.h"
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
FlatPair allocate(const std::vector<Placement>& all, const at::TensorOptions& options) {
  int64_t sizes[2] = {0, 0};
  for (const Placement& p : all) sizes[index_of(p.group)] += p.parameter.numel();
  return {at::zeros({sizes[0]}, options), at::zeros({sizes[1]}, options)};
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

ParameterStore::ParameterStore(Model& model, at::ScalarType compute, const TrainingRate& rate,
                               const StateSharing& sharing, at::Device device)
    : sharing_(sharing),
      precise_(compute == at::kDouble ? at::kDouble : at::kFloat),
      device_(device) {
  const at::NoGradGuard no_grad;
  const auto placements = place<Placement>(model);
  weights_ = allocate(placements, at::TensorOptions(compute).device(device));
  const int64_t held = weights_.expert.numel() == 0 ? 0 : model->experts_held();
  bool trains = false;  // alike on all ranks of a stage, whoever has what is trained
  for (const Placement& p : placements) {
    add_tensors(p, rate, model->expert_rank() * held);
    trains = trains || trains_somewhere(p.path, p.parameter.sizes().vec(),
                                        model->config().n_routed_experts, rate);
  }
  for (const auto group : {ParameterGroup::kDense, ParameterGroup::kExpert}) {
    gradients_.of(group) =
        at::zeros({parallel::padded(state_size(group), sharing.of(group))}, state_options());
  }
  if (compute != precise_ && trains) masters_ = make_owned_state();
  for (const Placement& p : placements) attach(model, p, rate);
  add_buffers(model, precise_);
}

int64_t ParameterStore::state_size(ParameterGroup group) const {
  return state_sizes_[index_of(group)];
}

parallel::Share ParameterStore::share(ParameterGroup group) const {
  return parallel::share_of(state_size(group), sharing_.of(group));
}

at::TensorOptions ParameterStore::state_options() const {
  return at::TensorOptions(precise_).device(device_);
}

FlatPair ParameterStore::make_owned_state() const {
  return {at::zeros({share(ParameterGroup::kDense).size()}, state_options()),
          at::zeros({share(ParameterGroup::kExpert).size()}, state_options())};
}

std::vector<TrainedRun> ParameterStore::owned_runs() const {
  std::vector<TrainedRun> owned;
  for (TrainedRun run : runs_) {
    const parallel::Share share = this->share(run.group);
    const int64_t begin = std::max(run.state, share.begin);
    const int64_t end = std::min(run.state + run.numel, share.end);
    if (begin >= end) continue;
    run.offset += begin - run.state;
    run.state = begin - share.begin;
    run.numel = end - begin;
    owned.push_back(run);
  }
  return owned;
}

std::optional<OwnedPiece> ParameterStore::owned(const StoredTensor& tensor) const {
  if (!tensor.trains()) return std::nullopt;
  const parallel::Share share = this->share(tensor.group);
  const int64_t begin = std::max(tensor.state, share.begin);
  const int64_t end = std::min(tensor.state + tensor.numel, share.end);
  if (begin >= end) return std::nullopt;
  return OwnedPiece{begin - tensor.state, end - tensor.state, begin - share.begin};
}

void ParameterStore::set(const StoredTensor& tensor, const at::Tensor& values) {
  weights_.view(tensor).copy_(values);
  const auto piece = has_masters() ? owned(tensor) : std::nullopt;
  if (!piece) return;
  const int64_t count = piece->end - piece->begin;
  masters_.of(tensor.group)
      .narrow(0, piece->state, count)
      .copy_(values.reshape({-1}).narrow(0, piece->begin, count));
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

bool ParameterStore::trains_routers() const {
  return std::all_of(tensors_.begin(), tensors_.end(), [](const StoredTensor& t) {
    return t.trains() || class_of(t.name) != WeightClass::kRouter;
  });
}

void ParameterStore::zero_gradients() {
  gradients_.dense.zero_();
  gradients_.expert.zero_();
}

/// Whole tensors, since what is drawn for one does not depend on who has which part of it; on the
/// host, so that it does not depend on the device.
void ParameterStore::fill(const std::function<void(const StoredTensor&, at::Tensor&)>& make) {
  for (const StoredTensor& tensor : tensors_) {
    const at::Tensor weights = weights_.view(tensor);
    const bool through_master = has_masters() && tensor.trains();
    at::Tensor values = weights;
    if (through_master) {
      values = at::empty(tensor.shape, precise_);
    } else if (!device_.is_cpu()) {
      values = at::empty(tensor.shape, weights.scalar_type());
    }
    make(tensor, values);
    if (!values.is_same(weights)) set(tensor, values);
  }
}

void ParameterStore::initialize(int64_t seed, double std) {
  fill([&](const StoredTensor& tensor, at::Tensor& values) {
    if (tensor.shape.size() == 1) {
      values.fill_(1.0);
    } else {
      values.normal_(0.0, std, at::detail::createCPUGenerator(hash_name(seed, tensor.name)));
    }
  });
  for (const StoredBuffer& buffer : buffers_) buffer.values.zero_();
}

void ParameterStore::initialize_adapters(int64_t seed) {
  for (const StoredTensor& tensor : tensors_) {
    if (!is_adapter(tensor.name)) continue;
    at::Tensor values = at::zeros(tensor.shape, precise_);
    if (tensor.name.find(".lora_A.") != std::string::npos) {
      const double bound = 1.0 / std::sqrt(static_cast<double>(tensor.shape[1]));
      values.uniform_(-bound, bound, at::detail::createCPUGenerator(hash_name(seed, tensor.name)));
    }
    set(tensor, values);
  }
}

}  // namespace dsmoe::nn
