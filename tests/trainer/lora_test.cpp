// Adapters against the same model with merged weights: the chain rule through W + s B A is an
// oracle for their gradients.
#include "trainer/lora.h"

#include <filesystem>
#include <map>

#include "configs/errors.h"
#include "parallel/local_communicator.h"
#include "tests/data/files.h"
#include "tests/support/catch.h"
#include "tests/support/stored.h"
#include "tests/support/temp_directory.h"
#include "tests/support/tiny_run.h"
#include "trainer/adapter_directory.h"
#include "trainer/atomic_file.h"
#include "trainer/gradients.h"
#include "trainer/session.h"
#include "trainer/trained_weights.h"

namespace {

using namespace dsmoe;  // NOLINT: a test across floors

using Tensors = std::map<std::string, at::Tensor>;

config::RunConfig lora_run() {
  config::RunConfig config = test::tiny_run();
  config.drop.kind = config::DropKind::kNone;
  config.finetune.method = config::FinetuneMethod::kLora;
  config.finetune.lora.rank = 3;
  config.finetune.lora.alpha = 4.5;
  return config;
}

/// A session whose weights, adapters among them, are random and not small.
struct Run {
  parallel::LocalCommunicator world{"world"};
  train::Session session;
  train::Optimizer optimizer;

  explicit Run(const config::RunConfig& config)
      : session(config, world, /*ranks_on_cores=*/1, train::training_rate(config)),
        optimizer(config.optimizer, session.store) {
    session.store.initialize(5, 0.3);
  }

  Tensors weights() {
    Tensors all;
    for (const auto& t : session.store.tensors()) all[t.name] = test::precise(session.store, t);
    return all;
  }

  train::StepReport gradient() {
    train::TrainContext context{session.config, session.topology, session.world, session.groups,
                                session.model,  session.store,    optimizer};
    data::TokenBatch batch;
    auto generator = at::detail::createCPUGenerator(3);
    const at::Tensor tokens = at::randint(40, {4, 8}, generator, at::TensorOptions(at::kLong));
    batch.inputs_BT = tokens.slice(1, 0, 7).contiguous();
    batch.targets_BT = tokens.slice(1, 1).contiguous();
    batch.sequence_numbers = {0, 1, 2, 3};
    train::StepReport report;
    train::compute_gradients(context, {batch}, 1, 0, report);
    return report;
  }

  Tensors gradients() {
    Tensors all;
    for (const auto& t : session.store.tensors()) {
      if (t.trains()) all[t.name] = session.store.gradients().state_view(t).clone();
    }
    return all;
  }
};

train::AdapterBase base() { return {"weights", "0123"}; }

/// Writes the run's adapters and opens them as peft's.
train::PeftAdapter saved(Run& run, const std::string& directory) {
  train::make_directories(directory);
  train::write_safetensors(
      directory + "/" + train::adapter_part_file(0),
      train::adapter_part(run.session.store, run.session.topology, run.session.groups));
  train::join_adapter_parts(directory, run.session.config, base(), /*parts=*/1);
  return train::PeftAdapter::open(directory);
}

/// The same run without adapters, what they add merged into its weights.
std::unique_ptr<Run> merged(Run& run, const train::PeftAdapter& adapter) {
  config::RunConfig config = run.session.config;
  config.finetune = {};
  auto plain = std::make_unique<Run>(config);
  const Tensors weights = run.weights();
  for (auto& [name, weight] : plain->weights()) at::Tensor(weight).copy_(weights.at(name));
  train::merge_adapter(adapter, plain->session.store);
  return plain;
}

/// dA = s B^T dW and dB = s dW A^T, of the matrix that a stored adapter name stands beside.
at::Tensor chain(const std::string& name, const Tensors& weights, const Tensors& full,
                 double scale) {
  const std::string prefix = "base_model.model.";
  const std::string module = name.substr(prefix.size(), name.find(".lora_") - prefix.size());
  const std::string a = prefix + module + ".lora_A.weight", b = prefix + module + ".lora_B.weight";
  at::Tensor dw;
  if (module.ends_with("gate_up_proj")) {
    const std::string expert = module.substr(0, module.rfind('.'));
    dw = at::cat({full.at(expert + ".gate_proj.weight"), full.at(expert + ".up_proj.weight")});
  } else {
    dw = full.at(module + ".weight");
  }
  return name == a ? at::mm(weights.at(b).t(), dw) * scale : at::mm(dw, weights.at(a).t()) * scale;
}

TEST_CASE("an adapter's gradient is the chain rule through the merged weights") {
  const test::TempDirectory folder;
  config::RunConfig config = lora_run();
  config.finetune.lora.target.emplace_back("head");
  Run run(config);
  const train::StepReport adapted = run.gradient();
  const auto plain = merged(run, saved(run, folder / "adapter"));
  const train::StepReport whole = plain->gradient();
  CHECK(adapted.loss == Approx(whole.loss).epsilon(1e-12));
  CHECK(adapted.loss_total == Approx(whole.loss_total).epsilon(1e-12));
  const Tensors got = run.gradients(), full = plain->gradients(), weights = run.weights();
  // 3 layers of 5 attention matrices, a dense and 2 shared networks, 2 layers of 8 experts, a head.
  CHECK(got.size() == 2 * (3 * 5 + 3 * 3 + 2 * 8 * 2 + 1));
  for (const auto& [name, gradient] : got) {
    CAPTURE(name);
    CHECK(test::distance(gradient, chain(name, weights, full, 4.5 / 3)) < 1e-11);
  }
}

TEST_CASE("adapters come back from their files, and only where they belong") {
  const test::TempDirectory folder;
  Run run(lora_run());
  (void)saved(run, folder / "adapter");
  Run other(lora_run());
  for (auto& [name, weight] : other.weights()) {
    if (nn::is_adapter(name)) at::Tensor(weight).zero_();
  }
  train::load_adapter_directory(folder / "adapter", lora_run(), base(), other.session.store);
  const Tensors wanted = run.weights();
  for (auto& [name, weight] : other.weights()) CHECK(weight.equal(wanted.at(name)));

  const std::string elsewhere = test::message_of<CheckpointError>([&] {
    train::load_adapter_directory(folder / "adapter", lora_run(), {"others", "4567"},
                                  other.session.store);
  });
  CHECK(test::has(elsewhere, "their fingerprint is 0123, that of others is 4567"));
  config::RunConfig wider = lora_run();
  wider.finetune.lora.alpha = 9;
  CHECK(test::has(test::message_of<CheckpointError>([&] {
                    train::load_adapter_directory(folder / "adapter", wider, base(),
                                                  other.session.store);
                  }),
                  "rank 3 and alpha / rank 1.5"));
  config::RunConfig fewer = lora_run();
  fewer.finetune.lora.target = {"attention", "*.experts.*.down_proj", "dense"};
  CHECK(test::has(test::message_of<CheckpointError>([&] {
                    train::load_adapter_directory(folder / "adapter", fewer, base(),
                                                  other.session.store);
                  }),
                  "which finetune.lora.target does not name"));
}

TEST_CASE("one stack of a layer's experts alone is known by its name") {
  const test::TempDirectory folder;
  const std::string target = GENERATE("down_proj", "gate_up");
  CAPTURE(target);
  config::RunConfig config = lora_run();
  config.finetune.lora.target =
      target == "gate_up" ? std::vector<std::string>{"*.experts.*.gate_proj", "*.experts.*.up_proj"}
                          : std::vector<std::string>{"*.mlp.experts.*.down_proj"};
  Run run(config);
  const auto adapter = saved(run, folder / "adapter");
  const train::StepReport adapted = run.gradient();
  CHECK(adapted.loss == Approx(merged(run, adapter)->gradient().loss).epsilon(1e-12));
  Run again(config);
  train::load_adapter_directory(folder / "adapter", config, base(), again.session.store);
}

TEST_CASE("new adapters change nothing") {
  config::RunConfig config = lora_run();
  Run run(config);
  run.session.store.initialize_adapters(1);
  const double adapted = run.gradient().loss;
  config.finetune = {};
  Run plain(config);
  CHECK(plain.gradient().loss == adapted);
}

TEST_CASE("the census of adapters is what a store holds") {
  const config::RunConfig config = lora_run();
  Run run(config);
  std::map<std::string, std::vector<int64_t>> held, wanted;
  for (const auto& t : run.session.store.tensors()) {
    if (nn::is_adapter(t.name)) held[t.name] = t.shape;
  }
  for (const auto& t : train::adapter_tensors(config)) wanted[t.name] = t.shape;
  CHECK(held == wanted);
}

TEST_CASE("targets that take no adapter, or only part of a matrix, are refused") {
  const auto complaint = [](const std::vector<std::string>& target) {
    config::RunConfig config = lora_run();
    config.finetune.lora.target = target;
    return test::message_of<ConfigError>([&] { (void)train::training_rate(config); });
  };
  CHECK(test::has(complaint({"router"}), "takes no adapter"));
  CHECK(test::has(complaint({"embeddings"}), "embed_tokens.weight"));
  CHECK(test::has(complaint({"q_projection"}), "`q_projection` matches none"));
  CHECK(test::has(complaint({"*.mlp.experts.3.*"}), "names 1 of the 8 matrices"));
  CHECK(test::has(complaint({"shared_experts.gate_proj"}), "names 1 of the 2 matrices"));
  CHECK(complaint({"attention", "down_proj", "head"}).empty());
}

}  // namespace
