#include "trainer/balance_bias.h"

#include "parallel/local_communicator.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_run.h"
#include "trainer/session.h"

namespace {

using namespace dsmoe;  // NOLINT: a test across floors

TEST_CASE("biases move by the rate against the load, and not at the mean") {
  auto config = test::tiny_run();
  config.model.topk_method = config::TopkMethod::kNoauxTc;
  parallel::LocalCommunicator world("world");
  train::Session session(config, world, 1);
  session.store.initialize(1, 0.1);
  std::vector<train::LayerReport> layers(2);
  layers[0].layer = 1;
  layers[1].layer = 2;
  layers[0].pairs = {8, 0, 4, 4, 4, 4, 4, 4};
  layers[1].pairs = {0, 0, 0, 0, 0, 0, 0, 32};
  train::move_biases(session.store, layers, 0.001);
  train::move_biases(session.store, layers, 0.001);
  const auto bias = [&](size_t layer) { return session.store.buffers()[layer].values; };
  CHECK(
      bias(0).allclose(torch::tensor({-0.002, 0.002, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}, at::kDouble)));
  CHECK(bias(1)[7].item<double>() == Approx(-0.002));
  CHECK(bias(1)[0].item<double>() == Approx(0.002));
}

}  // namespace
