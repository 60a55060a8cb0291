#include "modules/model.h"

#include <string>
#include <vector>

#include "modules/balance_loss.h"
#include "modules/parameter_store.h"
#include "parallel/local_communicator.h"
#include "tests/modules/numeric.h"
#include "tests/modules/tiny_model.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

constexpr int64_t kBatch = 3;
constexpr int64_t kLength = 5;

at::Tensor random_tokens(int64_t seed) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  return at::randint(11, {kBatch, kLength}, generator, at::TensorOptions(at::kLong));
}

/// A tiny model with random weights large enough that every part matters.
struct Fixture {
  explicit Fixture(const config::ModelConfig& config)
      : model(config, config::DropConfig{.capacity = 0.75}, config::BatchConfig{}, ep),
        store(model, at::kDouble) {
    store.initialize(5, 0.5);
    at::Tensor& dense = store.weights().dense;
    const int64_t matrices = store.runs().front().numel;
    dense.slice(0, matrices).add_(test::random({dense.numel() - matrices}, 6, 0.2));
  }

  ModelOutput run() { return model(tokens_BT, sequences, /*dropping=*/true); }

  /// The shape of a run's objective: cross-entropy and all balance losses, with large factors.
  at::Tensor objective(const ModelOutput& output) {
    at::Tensor total = model->loss_sum(output, targets_BT) / 14.0;
    const auto units = LossUnits::each(Segments::uniform(kBatch, kLength));
    for (const RoutingRecord& record : output.routing) {
      const auto counts = count_routing(record, units, {.complementary = 0.4}, model->config());
      const auto loss = balance_losses(record, counts, units, model->config());
      total = total + (loss.expert_U * 0.3 + loss.device_U * 0.5 + loss.communication_U * 0.2 +
                       loss.z_U * 0.1 + loss.complementary_U * 0.4)
                          .sum();
    }
    return total;
  }

  parallel::LocalCommunicator ep{"ep"};
  Model model;
  ParameterStore store;
  at::Tensor tokens_BT = random_tokens(1);
  at::Tensor targets_BT = random_tokens(2);
  SequenceInfo sequences{{0, 1, 2}, {false, true, false}, {}};
};

bool same_choices(const ModelOutput& a, const ModelOutput& b) {
  for (size_t i = 0; i < a.routing.size(); ++i) {
    if (!a.routing[i].experts_NK.equal(b.routing[i].experts_NK)) return false;
    if (!a.routing[i].kept_NK.equal(b.routing[i].kept_NK)) return false;
  }
  return true;
}

/// |gradient - central difference| in some entries of a tensor; entries whose step changes a choice
/// are left out, as the objective jumps there.
struct Comparison {
  double worst = 0, largest = 0;
  int64_t checked = 0, skipped = 0;
};

Comparison compare(Fixture& f, const StoredTensor& tensor, const ModelOutput& base) {
  Comparison result;
  const at::Tensor values = f.store.weights().view(tensor);
  const at::Tensor gradient = f.store.gradients().state_view(tensor);
  const int64_t stride = std::max<int64_t>(1, tensor.numel / 4);
  for (int64_t i = tensor.numel / 7; i < tensor.numel; i += stride) {
    bool flipped = false;
    const double numeric = test::slope(
        [&] {
          const ModelOutput output = f.run();
          flipped = flipped || !same_choices(output, base);
          return f.objective(output).item<double>();
        },
        values, i);
    ++(flipped ? result.skipped : result.checked);
    if (flipped) continue;
    const double analytic = gradient.const_data_ptr<double>()[i];
    result.worst = std::max(result.worst, std::abs(analytic - numeric));
    result.largest = std::max(result.largest, std::abs(analytic));
  }
  return result;
}

config::ModelConfig variant(bool compressed) {
  auto config = test::tiny_model();
  if (!compressed) config.q_lora_rank.reset();
  config.norm_topk_prob = !compressed;
  return config;
}

config::ModelConfig grouped_queries() {
  auto config = test::tiny_model();
  config.attention.kind = config::AttentionKind::kGqa;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  return config;
}

TEST_CASE("the gradient of the whole model is that of finite differences in every tensor") {
  const auto config = GENERATE(variant(true), variant(false), grouped_queries());
  const bool padded = GENERATE(false, true);
  const double jitter = GENERATE(0.0, 0.3);
  CAPTURE(config.q_lora_rank.has_value(), config.is_mla(), padded, jitter);
  Fixture f(config);
  f.sequences.variation = {jitter, false, {0, 1, 2}, {10, 11, 12}};
  if (padded) {
    f.sequences.valid_BT = at::ones({kBatch, kLength}, at::kBool);
    f.sequences.valid_BT[0].slice(0, 3).fill_(false);
    f.sequences.valid_BT[2].fill_(false);
    f.targets_BT = f.targets_BT.masked_fill(f.sequences.valid_BT.logical_not(), -100);
  }
  const ModelOutput base = f.run();
  REQUIRE(base.routing[0].kept_NK.logical_not().any().item<bool>());
  f.objective(base).backward();
  int64_t checked = 0, skipped = 0, still = 0;
  const at::NoGradGuard no_grad;
  for (const StoredTensor& tensor : f.store.tensors()) {
    CAPTURE(tensor.name);
    const Comparison result = compare(f, tensor, base);
    CHECK(result.worst < 1e-9 * (1.0 + result.largest));
    checked += result.checked;
    skipped += result.skipped;
    still += result.largest == 0.0 ? 1 : 0;
  }
  CHECK(checked > 20 * skipped);
  CHECK(still < static_cast<int64_t>(f.store.tensors().size()) / 2);
}

TEST_CASE("the objective's gradients add up over micro-batches") {
  Fixture f(test::tiny_model());
  f.objective(f.run()).backward();
  const at::Tensor once = f.store.gradients().dense.clone();
  f.objective(f.run()).backward();
  CHECK(test::distance(f.store.gradients().dense, 2.0 * once) < 1e-14);
  f.store.zero_gradients();
  CHECK(f.store.gradients().dense.count_nonzero().item<int64_t>() == 0);
}

TEST_CASE("a sequence's hidden states do not depend on its neighbours in the batch") {
  Fixture f(test::tiny_model());
  const at::NoGradGuard no_grad;
  const at::Tensor all_NM = f.run().hidden_NM;
  f.tokens_BT = f.tokens_BT.slice(0, 2);
  f.sequences = {{2}, {false}, {}};
  CHECK(test::gap(f.run().hidden_NM, all_NM.slice(0, 2 * kLength)) < 1e-13);
}

TEST_CASE("documents packed into rows have the hidden states of each alone") {
  const auto [dtype, tolerance] =
      GENERATE(std::pair{at::kDouble, 1e-13}, std::pair{at::kFloat, 1e-5});
  CAPTURE(dtype);
  const at::NoGradGuard no_grad;
  parallel::LocalCommunicator ep("ep");
  Model model(test::tiny_model(), config::DropConfig{}, config::BatchConfig{}, ep);
  ParameterStore store(model, dtype);
  store.initialize(5, 0.5);
  const at::Tensor tokens_BT = random_tokens(1);
  SequenceInfo packed{{0, 1, 2}, {false, false, false}};
  packed.segments = Segments({0, 2, 5, 9, 10, 11, 15});
  const at::Tensor hidden_NM = model(tokens_BT, packed, /*dropping=*/false).hidden_NM;
  for (int64_t s = 0; s < packed.segments.count(); ++s) {
    const auto cut = [&](const at::Tensor& x) {
      return x.slice(0, packed.segments.start(s), packed.segments.start(s + 1));
    };
    const at::Tensor alone_1T = cut(tokens_BT.flatten()).unsqueeze(0);
    const SequenceInfo one{{0}, {false}};
    CHECK(test::distance(model(alone_1T, one, false).hidden_NM, cut(hidden_NM)) < tolerance);
  }
}

TEST_CASE("each MoE layer returns its record, in order, and the head its logits") {
  Fixture f(test::tiny_model());
  const ModelOutput output = f.run();
  REQUIRE(output.routing.size() == 2);
  CHECK(output.routing[0].layer == 1);
  CHECK(output.routing[1].layer == 2);
  CHECK(output.routing[1].scores_NE.sizes() == at::IntArrayRef({kBatch * kLength, 8}));
  const at::Tensor logits_NV = f.model->logits(output.hidden_NM);
  const at::Tensor loss =
      at::cross_entropy_loss(logits_NV, f.targets_BT.reshape({-1}), {}, at::Reduction::Sum);
  CHECK(f.model->loss_sum(output, f.targets_BT).item<double>() == Approx(loss.item<double>()));
}

TEST_CASE("a model takes a batch of no sequences, forward and backward") {
  Fixture f(test::tiny_model());
  f.sequences = {};
  f.tokens_BT = at::zeros({0, kLength}, at::kLong);
  const ModelOutput output = f.model(f.tokens_BT, f.sequences, true);
  CHECK(output.hidden_NM.sizes() == at::IntArrayRef({0, 8}));
  const at::Tensor loss = f.model->loss_sum(output, at::zeros({0, kLength}, at::kLong));
  CHECK(loss.item<double>() == 0.0);
  loss.backward();
  CHECK(f.store.gradients().dense.count_nonzero().item<int64_t>() == 0);
}

TEST_CASE("a model without routed experts is dense in every layer") {
  auto config = test::tiny_model();
  config.n_routed_experts = 0;
  Fixture f(config);
  CHECK(f.run().routing.empty());
  CHECK(f.store.weights().expert.numel() == 0);
}

}  // namespace
}  // namespace dsmoe::nn
