#include "trainer/interference.h"

#include "parallel/local_communicator.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_run.h"

namespace {

using namespace dsmoe;  // NOLINT: a test of one namespace

test::TinyGradients run(const config::RunConfig& config) {
  parallel::LocalCommunicator alone("world");
  return test::tiny_gradients(config, {}, alone);
}

const std::string kLastRouter = "model.layers.2.mlp.gate.weight";

}  // namespace

// The last layer's router feels no losses but its own, so that two runs, with and without them,
// tell what is theirs.
TEST_CASE("the balance losses' pull on a router is what they add to its gradient") {
  config::RunConfig config = test::tiny_run();
  config.balance.z = 0.01;
  config.batch.micro_sequences = GENERATE(8, 2);
  const test::TinyGradients with = run(config);
  config.balance = {.expert = 0, .device = 0, .communication = 0};
  const at::Tensor rest = run(config).gradients.at(kLastRouter);
  const at::Tensor pull = with.gradients.at(kLastRouter) - rest;
  REQUIRE(with.report.layers.back().interference.has_value());
  const train::InterferenceValues values = *with.report.layers.back().interference;
  const double ratio = (pull.norm() / rest.norm()).item<double>();
  const double cosine = ((pull * rest).sum() / pull.norm() / rest.norm()).item<double>();
  CHECK(values.ratio == Approx(ratio).epsilon(1e-9));
  CHECK(values.cosine == Approx(cosine).epsilon(1e-8));
  CHECK(ratio > 1e-3);
}

TEST_CASE("measuring interference changes no gradient") {
  config::RunConfig config = test::tiny_run();
  const auto measured = run(config).gradients;
  config.log.interference_every = 0;
  const auto plain = run(config);
  CHECK_FALSE(plain.report.interference.has_value());
  for (const auto& [name, gradient] : plain.gradients) CHECK(gradient.equal(measured.at(name)));
}

TEST_CASE("without balance losses there is no interference to measure") {
  config::RunConfig config = test::tiny_run();
  config.balance = {.expert = 0, .device = 0, .communication = 0};
  CHECK_FALSE(run(config).report.interference.has_value());
}
