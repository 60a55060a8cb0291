#include "trainer/esft.h"

#include <algorithm>
#include <filesystem>

#include "configs/init_from.h"
#include "data/loader.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/human.h"
#include "trainer/micro_batches.h"
#include "trainer/model_directory.h"
#include "trainer/run_directory.h"
#include "trainer/sequence_info.h"
#include "trainer/session.h"

namespace dsmoe::train {
namespace {

/// Sums over tokens, of each MoE layer.
struct Scores {
  std::vector<at::Tensor> pairs_E;
  std::vector<at::Tensor> gates_E;
  at::Tensor tokens = at::zeros({1}, at::kDouble);
};

Scores zero_scores(const config::ModelConfig& model) {
  Scores scores;
  for (int64_t i = 0; i < model.num_moe_layers(); ++i) {
    scores.pairs_E.push_back(at::zeros({model.n_routed_experts}, at::kDouble));
    scores.gates_E.push_back(at::zeros({model.n_routed_experts}, at::kDouble));
  }
  return scores;
}

void add(Scores& scores, const nn::ModelOutput& output, const data::TokenBatch& batch) {
  const int64_t rows = batch.inputs_BT.numel();
  at::Tensor valid_N = at::ones({rows}, at::kDouble);
  if (batch.valid_BT.defined()) valid_N = batch.valid_BT.reshape({-1}).to(at::kDouble);
  scores.tokens += valid_N.sum();
  for (size_t i = 0; i < output.routing.size(); ++i) {
    const nn::RoutingRecord& record = output.routing[i];
    const at::Tensor experts_P = record.experts_NK.reshape({-1});
    const at::Tensor valid_NK = valid_N.unsqueeze(1).expand_as(record.experts_NK);
    const at::Tensor gates_NK = record.scores_NE.gather(1, record.experts_NK).to(at::kDouble);
    scores.pairs_E[i].index_add_(0, experts_P, valid_NK.reshape({-1}));
    scores.gates_E[i].index_add_(0, experts_P, (gates_NK * valid_NK).reshape({-1}));
  }
}

void reduce(Scores& scores, parallel::Communicator& world) {
  if (world.size() == 1) return;
  for (auto* all : {&scores.pairs_E, &scores.gates_E}) {
    for (at::Tensor& one : *all) world.all_reduce(one, parallel::ReduceOp::kSum);
  }
  world.all_reduce(scores.tokens, parallel::ReduceOp::kSum);
}

/// The first rows of the data that hold sample_tokens, at most one pass.
Scores run_sample(Session& session, data::Loader& loader, CommandContext& context) {
  const at::NoGradGuard no_grad;
  const config::RunConfig& config = session.config;
  const int64_t length = config.data.sequence_length;
  const int64_t wanted = (config.finetune.esft.sample_tokens + length - 1) / length;
  const BatchCut cut{0, std::min(wanted, loader.sequences_per_epoch()),
                     config.batch.micro_sequences};
  Scores scores = zero_scores(config.model);
  const int64_t count = num_micro_batches(cut, session.topology);
  for (int64_t i = 0; i < count; ++i) {
    data::TokenBatch batch;
    agree(context.world, [&] { batch = loader.load(micro_batch(cut, session.topology, i)); });
    add(scores,
        session.model->forward(batch.inputs_BT, sequence_info(batch, 0, config),
                               /*dropping=*/false),
        batch);
  }
  reduce(scores, context.world);
  return scores;
}

std::vector<double> to_vector(const at::Tensor& values_E) {
  const auto* const values = values_E.const_data_ptr<double>();
  return {values, values + values_E.numel()};
}

config::ExpertChoice choose(const Scores& scores, const config::RunConfig& config) {
  const config::EsftConfig& esft = config.finetune.esft;
  config::ExpertChoice choice{
      esft.score, esft.top_p, scores.tokens.item<int64_t>(), config.model.init_from, {}};
  size_t next = 0;
  for (int64_t layer = 0; layer < config.model.num_hidden_layers; ++layer) {
    if (!config.model.is_moe_layer(layer)) continue;
    const size_t i = next++;
    const at::Tensor score_E = esft.score == config::ExpertScore::kToken
                                   ? scores.pairs_E[i] / scores.pairs_E[i].sum()
                                   : scores.gates_E[i] / scores.tokens;
    choice.layers[layer] = config::choose_experts(to_vector(score_E), esft.top_p);
  }
  return choice;
}

/// Whether the run's directory holds a choice that belongs to checkpoints that will be resumed.
bool will_resume(const config::RunConfig& config) {
  const RunDirectory directory(config.run);
  return config.run.resume != "never" && std::filesystem::exists(expert_choice_file(config)) &&
         std::filesystem::exists(directory.checkpoints() + "/latest");
}

}  // namespace

config::ExpertChoice score_experts(const config::RunConfig& asked, CommandContext& context) {
  config::RunConfig config = asked;
  config.router = {};
  config.parallel.pipeline = 1;  // each of its ranks goes through the whole model
  Session session(config, context.world, context.ranks_on_cores, nn::train_nothing());
  std::unique_ptr<data::Loader> loader;
  agree(context.world, [&] {
    const std::string directory = config::find_model_directory(config.model.init_from);
    verify_model_directory(directory, {context.world.rank(), context.world.size()});
    load_model_directory(directory, config.model, session.store);
    loader = std::make_unique<data::Loader>(config.data, config.run.seed);
  });
  context.console.info("scoring experts on up to " +
                       with_separators(config.finetune.esft.sample_tokens) +
                       " tokens of data.train");
  return choose(run_sample(session, *loader, context), config);
}

std::string expert_choice_file(const config::RunConfig& config) {
  return RunDirectory(config.run).root + "/esft.yaml";
}

config::RunConfig settle_experts(config::RunConfig config, CommandContext& context) {
  std::string& file = config.finetune.esft.experts;
  if (config.finetune.method != config::FinetuneMethod::kEsft || !file.empty()) return config;
  std::string there;
  if (context.first() && will_resume(config)) there = "yes";
  broadcast_text(there, context.world);
  if (there.empty()) {
    const config::ExpertChoice choice = score_experts(config, context);
    agree(context.world, [&] {
      if (!context.first()) return;
      make_directories(RunDirectory(config.run).root);
      write_file_atomically(expert_choice_file(config), config::write_expert_choice(choice));
    });
  }
  file = expert_choice_file(config);
  context.console.info("finetune.esft: the experts of " + file);
  return config;
}

}  // namespace dsmoe::train
