#include "tests/support/tiny_run.h"

#include <sstream>

#include "modules/published_tensors.h"
#include "trainer/agreement.h"
#include "trainer/micro_batches.h"
#include "trainer/session.h"
#include "trainer/shared_state.h"
#include "trainer/train_step.h"
#include "trainer/trained_weights.h"

namespace dsmoe::test {
namespace {

constexpr int64_t kLength = 7;

at::Tensor random_tokens(int64_t sequence, int64_t vocab) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(sequence) * 77 + 5);
  return at::randint(vocab, {kLength + 1}, generator, at::TensorOptions(at::kLong));
}

int64_t length_of(int64_t sequence, const TinyBatches& batches) {
  return batches.padded ? (sequence * 3) % (kLength + 1) : kLength;
}

/// Where the documents of a row begin: number 0 has one, 1 two, 2 three, and again.
std::vector<int64_t> document_starts(int64_t sequence) {
  std::vector<int64_t> starts{0};
  for (int64_t i = 0; i < sequence % 3; ++i) starts.push_back(starts.back() + 1 + sequence % 2);
  return starts;
}

/// Cuts row b into documents of which none predicts the next one's start.
void cut_documents(data::TokenBatch& batch, int64_t b, int64_t sequence) {
  for (const int64_t start : document_starts(sequence)) {
    batch.document_starts.push_back(b * kLength + start);
    if (start > 0) batch.targets_BT[b][start - 1].fill_(data::kNoTarget);
  }
}

data::TokenBatch make_batch(data::SequenceRange range, const config::RunConfig& config,
                            const TinyBatches& batches) {
  data::TokenBatch batch;
  const int64_t count = range.end - range.begin;
  batch.inputs_BT = at::zeros({count, kLength}, at::kLong);
  batch.targets_BT = at::full({count, kLength}, data::kNoTarget, at::kLong);
  at::Tensor valid_BT = at::zeros({count, kLength}, at::kBool);
  for (int64_t b = 0; b < count; ++b) {
    const at::Tensor tokens = random_tokens(range.begin + b, config.model.vocab_size);
    const int64_t length = length_of(range.begin + b, batches);
    batch.inputs_BT[b].slice(0, 0, length).copy_(tokens.slice(0, 0, length));
    batch.targets_BT[b].slice(0, 0, length).copy_(tokens.slice(0, 1, length + 1));
    valid_BT[b].slice(0, 0, length).fill_(true);
    if (batches.documents) cut_documents(batch, b, range.begin + b);
    batch.sequence_numbers.push_back(range.begin + b);
  }
  if (batches.padded) batch.valid_BT = valid_BT;
  return batch;
}

/// The upper half of the experts get the lower half's gate rows: every tie goes to the lower id.
void starve(nn::ParameterStore& store, int64_t num_experts) {
  for (const nn::StoredTensor& t : store.tensors()) {
    if (t.name.find(".mlp.gate.weight") == std::string::npos) continue;
    at::Tensor gate = store.weights().view(t);
    gate.slice(0, num_experts / 2).copy_(gate.slice(0, 0, num_experts / 2));
  }
}

/// From -0.5 to 0.5 over the experts, and the other way round in the next layer.
void bias(nn::ParameterStore& store) {
  for (const nn::StoredBuffer& b : store.buffers()) {
    const double sign = nn::layer_of(b.name).value() % 2 == 0 ? -1.0 : 1.0;
    b.values.copy_(at::linspace(-0.5 * sign, 0.5 * sign, b.values.numel(), at::kDouble));
  }
}

std::set<std::string> names_of_all(const std::map<std::string, at::Tensor>& own,
                                   parallel::Communicator& world) {
  std::string text;
  for (const auto& [name, values] : own) text += name + "\n";
  std::set<std::string> names;
  for (const std::string& theirs : train::gather_texts(text, world)) {
    std::istringstream lines(theirs);
    for (std::string name; std::getline(lines, name);) names.insert(name);
  }
  return names;
}

}  // namespace

config::RunConfig tiny_run() {
  config::RunConfig run;
  run.run.precision = config::Precision::kFp64;
  run.run.threads = 1;
  run.parallel.bucket_mib = 0.01;  // several buckets
  config::ModelConfig& m = run.model;
  m.vocab_size = 40;
  m.hidden_size = 24;
  m.num_hidden_layers = 3;
  m.num_attention_heads = 2;
  m.intermediate_size = 20;
  m.q_lora_rank = 12;
  m.kv_lora_rank = 8;
  m.qk_nope_head_dim = 6;
  m.qk_rope_head_dim = 4;
  m.v_head_dim = 5;
  m.n_routed_experts = 8;
  m.num_experts_per_tok = 3;
  m.moe_intermediate_size = 10;
  m.n_group = 4;
  m.topk_group = 2;
  m.initializer_range = 0.3;
  run.data.sequence_length = kLength;
  run.log.interference_every = 1;
  run.batch = {.sequences = 8, .micro_sequences = 8, .pool = 1};
  return run;
}

TinyRun::TinyRun(const config::RunConfig& config, const TinyBatches& batches,
                 parallel::Communicator& world)
    : batches_(batches),
      session_(config, world, /*ranks_on_cores=*/1, train::training_rate(config)),
      optimizer_(config.optimizer, session_.store) {
  session_.store.initialize(config.run.seed, config.model.initializer_range);
  if (batches.starved) starve(session_.store, config.model.n_routed_experts);
  if (batches.biased) bias(session_.store);
}

train::StepReport TinyRun::gradient(int64_t first) {
  train::TrainContext context{session_.config, session_.topology, session_.world, session_.groups,
                              session_.model,  session_.store,    optimizer_};
  const auto cut = train::cut_batch(session_.config, first, batches_.sequences);
  train::MicroBatches micro;
  for (int64_t i = 0; i < train::num_micro_batches(cut, session_.topology); ++i) {
    micro.push_back(
        make_batch(train::micro_batch(cut, session_.topology, i), session_.config, batches_));
  }
  train::StepReport report;
  train::compute_gradients(context, micro, 1, first, report);
  return report;
}

train::StepReport TinyRun::step(int64_t first) {
  const train::StepReport report = gradient(first);
  const double clip = session_.config.optimizer.clip_norm;
  optimizer_.step(/*lr=*/0.01, train::clip_divisor(report.grad_norm, clip));
  train::gather_weights(session_.store, session_.groups);
  return report;
}

TinyGradients tiny_gradients(const config::RunConfig& config, const TinyBatches& batches,
                             parallel::Communicator& world) {
  TinyRun run(config, batches, world);
  TinyGradients result;
  result.report = run.gradient();
  nn::ParameterStore& store = run.session().store;
  for (const nn::StoredTensor& t : store.tensors()) {
    if (t.trains()) result.gradients[t.name] = store.gradients().state_view(t).clone();
  }
  result.trained = names_of_all(result.gradients, world);
  return result;
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  const double size = b.norm().item<double>();
  const double gap = (a - b).norm().item<double>();
  return gap == 0.0 ? 0.0 : gap / std::max(size, 1e-300);
}

}  // namespace dsmoe::test
