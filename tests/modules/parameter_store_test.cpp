#include "modules/parameter_store.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "configs/errors.h"
#include "modules/published_tensors.h"
#include "parallel/local_communicator.h"
#include "tests/modules/numeric.h"
#include "tests/modules/tiny_model.h"
#include "tests/support/catch.h"
#include "tests/support/stored.h"
#include "tests/support/thread_world.h"

namespace dsmoe::nn {
namespace {

using Values = std::map<std::string, at::Tensor>;

Values values_of(ParameterStore& store) {
  Values values;
  for (const StoredTensor& t : store.tensors()) values[t.name] = test::precise(store, t).clone();
  return values;
}

Values initial_values(parallel::Communicator& ep, int64_t seed) {
  Model model(test::tiny_model(), config::DropConfig{}, config::BatchConfig{}, ep);
  ParameterStore store(model, at::kFloat);
  store.initialize(seed, 0.3);
  return values_of(store);
}

TEST_CASE("the store holds the published tensors, names and shapes, once each") {
  auto config = test::tiny_model();
  if (GENERATE(false, true)) config.q_lora_rank.reset();
  parallel::LocalCommunicator ep("ep");
  Model model(config, config::DropConfig{}, config::BatchConfig{}, ep);
  const ParameterStore store(model, at::kFloat);
  std::map<std::string, std::vector<int64_t>> held, wanted;
  for (const StoredTensor& t : store.tensors()) held[t.name] = t.shape;
  for (const PublishedTensor& t : published_tensors(config)) wanted[t.name] = t.shape;
  CHECK(store.tensors().size() == wanted.size());
  CHECK(held == wanted);
  CHECK(held.count("model.layers.1.mlp.experts.7.up_proj.weight") == 1);
  CHECK(held.count("model.layers.0.self_attn.kv_a_proj_with_mqa.weight") == 1);
}

TEST_CASE("the tensors tile both buffers without gap or overlap, norms behind the matrices") {
  parallel::LocalCommunicator ep("ep");
  Model model(test::tiny_model(), config::DropConfig{}, config::BatchConfig{}, ep);
  ParameterStore store(model, at::kFloat);
  for (const StoredTensor& t : store.tensors()) {
    CAPTURE(t.name);
    store.weights().view(t).add_(1.0);
    const bool norm = t.shape.size() == 1;
    CHECK((t.group == ParameterGroup::kExpert) == is_routed_expert(t.name));
    CHECK(t.decays == !norm);
    if (t.group == ParameterGroup::kDense) CHECK((t.offset >= store.runs()[0].numel) == norm);
  }
  CHECK(store.weights().dense.eq(1.0).all().item<bool>());
  CHECK(store.weights().expert.eq(1.0).all().item<bool>());
}

TEST_CASE("module parameters and their gradients are views of the buffers") {
  parallel::LocalCommunicator ep("ep");
  Model model(test::tiny_model(), config::DropConfig{}, config::BatchConfig{}, ep);
  ParameterStore store(model, at::kDouble);
  store.weights().dense.fill_(2.0);
  store.weights().expert.fill_(2.0);
  for (const auto& item : model->named_parameters()) {
    CAPTURE(item.key());
    CHECK(item.value().scalar_type() == at::kDouble);
    CHECK(item.value().eq(2.0).all().item<bool>());
    item.value().grad().add_(1.0);
  }
  CHECK(store.gradients().dense.eq(1.0).all().item<bool>());
  CHECK(store.gradients().expert.eq(1.0).all().item<bool>());
}

TEST_CASE("bf16 modules see rounded copies of float32 masters, and have float32 gradients") {
  parallel::LocalCommunicator ep("ep");
  Model model(test::tiny_model(), config::DropConfig{}, config::BatchConfig{}, ep);
  ParameterStore store(model, at::kBFloat16);
  store.initialize(3, 0.3);
  const at::Tensor embedding = model->named_parameters()["embed_tokens"];
  CHECK(embedding.scalar_type() == at::kBFloat16);
  CHECK(embedding.grad().scalar_type() == at::kFloat);
  const auto master = [&] { return values_of(store).at("model.embed_tokens.weight"); };
  CHECK(embedding.equal(master().to(at::kBFloat16)));
  CHECK_FALSE(embedding.to(at::kFloat).equal(master()));
  store.masters().dense.mul_(2.0);
  CHECK_FALSE(embedding.equal(master().to(at::kBFloat16)));
  for (const StoredTensor& t : store.tensors()) {
    if (t.name == "model.embed_tokens.weight") store.set(t, master());
  }
  CHECK(embedding.equal(master().to(at::kBFloat16)));
}

TEST_CASE("initial values have the asked spread, differ by tensor and seed, and come again") {
  parallel::LocalCommunicator ep("ep");
  const Values first = initial_values(ep, 1);
  const Values again = initial_values(ep, 1);
  const Values other = initial_values(ep, 2);
  std::vector<at::Tensor> all;
  std::set<float> heads;
  for (const auto& [name, value] : first) {
    CAPTURE(name);
    CHECK(value.equal(again.at(name)));
    if (value.dim() == 1) {
      CHECK(value.eq(1.0).all().item<bool>());
      continue;
    }
    CHECK_FALSE(value.equal(other.at(name)));
    heads.insert(value.view({-1})[0].item<float>());
    all.push_back(value.view({-1}));
  }
  CHECK(heads.size() == all.size());
  CHECK(at::cat(all).std().item<double>() == Approx(0.3).epsilon(0.05));
  CHECK(std::abs(at::cat(all).mean().item<double>()) < 0.02);
}

TEST_CASE("two ranks hold half of the experts each, with the values of one rank") {
  parallel::LocalCommunicator alone("ep");
  const Values wanted = initial_values(alone, 7);
  std::vector<Values> parts(2);
  test::run_ranks(2, [&](parallel::Communicator& ep) {
    parts[static_cast<size_t>(ep.rank())] = initial_values(ep, 7);
  });
  std::map<std::string, int64_t> holders;
  for (const Values& part : parts) {
    for (const auto& [name, value] : part) {
      CAPTURE(name);
      ++holders[name];
      REQUIRE(wanted.count(name) == 1);
      CHECK(value.equal(wanted.at(name)));
    }
  }
  CHECK(holders.size() == wanted.size());
  for (const auto& [name, count] : holders) CHECK(count == (is_routed_expert(name) ? 1 : 2));
  CHECK(parts[0].count("model.layers.2.mlp.experts.3.down_proj.weight") == 1);
  CHECK(parts[1].count("model.layers.2.mlp.experts.4.down_proj.weight") == 1);
}

/// Every second expert, and of the rest the norms.
double some_rate(const std::string& name) {
  if (name.find("norm") != std::string::npos) return 0.5;
  const bool even =
      name.find("experts.2.") != std::string::npos || name.find("experts.6.") != std::string::npos;
  return even && name.find("shared") == std::string::npos ? 1.0 : 0.0;
}

TEST_CASE("only what is trained has gradients and masters, and lies together") {
  const auto dtype = GENERATE(at::kFloat, at::kBFloat16);
  CAPTURE(dtype);
  parallel::LocalCommunicator ep("ep");
  Model model(test::tiny_model(), config::DropConfig{}, config::BatchConfig{}, ep);
  ParameterStore store(model, dtype, some_rate);
  int64_t dense = 0, expert = 0;
  for (const StoredTensor& t : store.tensors()) {
    CHECK(t.trains() == (some_rate(t.name) > 0));
    if (!t.trains()) continue;
    (t.group == ParameterGroup::kDense ? dense : expert) += t.numel;
    store.gradients().state_view(t).add_(1.0);
  }
  CHECK(store.gradients().dense.numel() == dense);
  CHECK(store.gradients().expert.numel() == expert);
  CHECK(expert * 4 == store.weights().expert.numel());
  CHECK(store.gradients().dense.eq(1.0).all().item<bool>());
  CHECK(store.gradients().expert.eq(1.0).all().item<bool>());
  CHECK(store.has_masters() == (dtype == at::kBFloat16));
  if (store.has_masters()) CHECK(store.masters().expert.numel() == expert);
  int64_t in_runs = 0;
  for (const TrainedRun& run : store.runs()) in_runs += run.numel;
  CHECK(in_runs == dense + expert);
  CHECK_FALSE(store.trains_routers());
  for (const auto& item : model->named_parameters()) {
    const bool norm = item.key().find("norm") != std::string::npos;
    const bool stack = item.key().find(".experts.") != std::string::npos;
    CAPTURE(item.key());
    CHECK(item.value().requires_grad() == (norm || stack));
    CHECK(item.value().grad().defined() == (norm || stack));
    if (stack) CHECK(item.value().grad().size(0) == 2);
  }
}

TEST_CASE("nothing trained: no gradients, no masters, no runs") {
  parallel::LocalCommunicator ep("ep");
  Model model(test::tiny_model(), config::DropConfig{}, config::BatchConfig{}, ep);
  ParameterStore store(model, at::kBFloat16, train_nothing());
  CHECK(store.gradients().dense.numel() + store.gradients().expert.numel() == 0);
  CHECK_FALSE(store.has_masters());
  CHECK(store.runs().empty());
}

TEST_CASE("half of a matrix that is one here cannot be frozen") {
  parallel::LocalCommunicator ep("ep");
  Model model(test::tiny_model(), config::DropConfig{}, config::BatchConfig{}, ep);
  const auto halves = [](const std::string& name) {
    return name.find("gate_proj") == std::string::npos ? 1.0 : 0.0;
  };
  CHECK_THROWS_AS(ParameterStore(model, at::kFloat, halves), ConfigError);
}

}  // namespace
}  // namespace dsmoe::nn
