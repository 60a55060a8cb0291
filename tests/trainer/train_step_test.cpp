#include "trainer/train_step.h"

#include <cmath>
#include <filesystem>

#include "parallel/local_communicator.h"
#include "tests/data/files.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_run.h"
#include "trainer/session.h"

namespace {

using namespace dsmoe;  // NOLINT: a test across floors

config::RunConfig trainable(const std::string& corpus) {
  config::RunConfig config = test::tiny_run();
  config.model.vocab_size = 259;
  config.model.topk_method = config::TopkMethod::kNoauxTc;
  config.balance.bias_rate = 0.01;
  config.data.train = {{corpus, 1.0, "a"}};
  config.schedule.steps = 10;
  return config;
}

/// What a skipped step must leave alone.
std::vector<at::Tensor> kept_state(nn::ParameterStore& store) {
  std::vector<at::Tensor> state{store.weights().dense.clone(), store.weights().expert.clone()};
  for (const nn::StoredBuffer& bias : store.buffers()) state.push_back(bias.values.clone());
  return state;
}

bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].equal(b[i])) return false;
  }
  return true;
}

TEST_CASE("a skipped step moves the data on and leaves weights, biases and Adam's t alone") {
  const std::string corpus = std::filesystem::temp_directory_path() / "dsmoe_train_step.txt";
  test::write_file(corpus, std::string(4000, 'x'));
  const auto config = trainable(corpus);
  parallel::LocalCommunicator world("world");
  train::Session session(config, world, /*ranks_on_cores=*/1);
  session.store.initialize(1, 0.1);
  train::Optimizer optimizer(config.optimizer, session.store);
  train::TrainContext context{session.config, session.topology, session.world, session.groups,
                              session.model,  session.store,    optimizer};
  data::Loader loader(config.data, config.run.seed);
  train::RunState state;

  const auto at_start = kept_state(session.store);
  CHECK_FALSE(train::train_step(context, loader, state).skipped);
  CHECK_FALSE(same(kept_state(session.store), at_start));

  at::Tensor weight = session.store.weights().dense[-1];  // of the last norm
  const double finite = weight.item<double>();
  weight.fill_(INFINITY);
  const auto before = kept_state(session.store);
  const train::StepReport report = train::train_step(context, loader, state);
  CHECK(report.skipped);
  CHECK(same(kept_state(session.store), before));
  CHECK(state.step == 2);
  CHECK(state.sequences == 2 * config.batch.sequences);
  CHECK(state.optimizer_steps == 1);
  CHECK(state.skipped_in_row == 1);

  weight.fill_(finite);
  CHECK_FALSE(train::train_step(context, loader, state).skipped);
  CHECK(state.optimizer_steps == 2);
  CHECK(state.skipped_in_row == 0);
  std::filesystem::remove(corpus);
}

}  // namespace
