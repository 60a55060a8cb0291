#include "tests/support/compare_runs.h"

#include <cmath>

#include "parallel/local_communicator.h"

namespace dsmoe::test {
namespace {

constexpr double kAngle = 100;  // a cosine near 0 is a sum that all but cancels

void near(Checks& checks, double actual, double expected, double tolerance,
          const std::string& what) {
  const double gap = std::abs(actual - expected) / std::max(std::abs(expected), 1e-300);
  checks.that(actual == expected || gap <= tolerance,
              what + " is " + std::to_string(actual) + ", one rank has " +
                  std::to_string(expected) + ", relative gap " + std::to_string(gap * 1e12) +
                  "e-12");
}

void compare_reports(Checks& checks, const train::StepReport& a, const train::StepReport& b,
                     double tolerance, const std::string& what) {
  near(checks, a.loss, b.loss, tolerance, what + "loss");
  near(checks, a.loss_total, b.loss_total, tolerance, what + "loss_total");
  near(checks, a.grad_norm, b.grad_norm, tolerance, what + "grad_norm");
  near(checks, a.balance.expert, b.balance.expert, tolerance, what + "balance.expert");
  near(checks, a.balance.device, b.balance.device, tolerance, what + "balance.device");
  near(checks, a.balance.communication, b.balance.communication, tolerance,
       what + "balance.communication");
  near(checks, a.load.max_vio, b.load.max_vio, 1e-15, what + "load.max_vio");
  near(checks, a.drop.rate, b.drop.rate, 1e-15, what + "drop.rate");
  near(checks, a.drop.tokens, b.drop.tokens, 1e-15, what + "drop.tokens");
  near(checks, a.drop.tokens_lost, b.drop.tokens_lost, 1e-15, what + "drop.tokens_lost");
  near(checks, a.drop.mass, b.drop.mass, tolerance, what + "drop.mass");
  near(checks, a.router.entropy, b.router.entropy, tolerance, what + "router.entropy");
  near(checks, a.router.topk_mass, b.router.topk_mass, tolerance, what + "router.topk_mass");
  near(checks, a.balance.z, b.balance.z, tolerance, what + "balance.z");
  near(checks, a.balance.complementary, b.balance.complementary, tolerance,
       what + "balance.complementary");
  near(checks, a.load.received_vio, b.load.received_vio, 1e-15, what + "load.received_vio");
  for (size_t i = 0; i < a.layers.size(); ++i) {
    checks.that(a.layers[i].pairs == b.layers[i].pairs, what + "pairs of each expert");
    checks.that(a.layers[i].sent == b.layers[i].sent, what + "rows from each group");
    checks.that(a.layers[i].devices == b.layers[i].devices, what + "tokens by groups visited");
  }
  checks.equal(a.interference.has_value(), b.interference.has_value(), what + "interference");
  if (a.interference && b.interference) {
    near(checks, a.interference->ratio, b.interference->ratio, tolerance, what + "pull on routers");
    near(checks, a.interference->cosine, b.interference->cosine, kAngle * tolerance,
         what + "cosine of that pull");
  }
  near(checks, a.protected_share, b.protected_share, 1e-15, what + "drop.protected");
  near(checks, a.traffic.devices_per_token, b.traffic.devices_per_token, 1e-15,
       what + "devices_per_token");
  checks.equal(a.traffic.bytes, a.traffic.bytes_bound + a.traffic.metadata_bytes,
               what + "bytes on the wire are the bound and the metadata");
}

}  // namespace

void compare_gradients(Checks& checks, const TinyGradients& actual, const TinyGradients& oracle,
                       double tolerance, const std::string& what) {
  compare_reports(checks, actual.report, oracle.report, tolerance, what);
  checks.that(actual.trained == oracle.trained, what + "other tensors are trained");
  for (const auto& [name, gradient] : actual.gradients) {
    const double gap = distance(gradient, oracle.gradients.at(name));
    checks.that(gap <= tolerance,
                what + "gradient of " + name + " is off by " + std::to_string(gap * 1e12) + "e-12");
  }
}

TinyGradients gradients_alone(config::RunConfig config, const TinyBatches& batches) {
  config.parallel = {};
  parallel::LocalCommunicator alone("world");
  return tiny_gradients(config, batches, alone);
}

}  // namespace dsmoe::test
