#include "trainer/step_line.h"

#include <limits>

#include "tests/support/catch.h"

namespace {

namespace train = dsmoe::train;

train::StepReport sample() {
  train::StepReport report;
  report.step = 120;
  report.loss = 4.213;
  report.balance = {1.02, 1.01, 1.03};
  report.grad_norm = 0.871;
  report.lr = 2.4e-4;
  report.tokens_per_second = 41'200;
  report.seconds = 0.212;
  report.time.communication = 0.031;
  report.time.data = 0.001;
  report.memory_bytes = int64_t{3} << 30;
  report.load.max_vio = 0.21;
  report.drop.rate = 0.009;
  report.traffic.devices_per_token = 2.71;
  return report;
}

TEST_CASE("the step line shows progress, loss, balance, speed and load") {
  CHECK(train::step_line(sample(), 2000, 372) ==
        "step  120/2000   6.0% | loss  4.2130 | aux e1.02 d1.01 c1.03 | gnorm   0.87 | lr 2.4e-04"
        " | tok/s  41.2k |    212 ms (comm   31, data    1) | mem    3.0 GiB"
        " | vio  0.21 dead   0 drop   0.9% dev/tok 2.71 | eta  6m12s");
}

TEST_CASE("the step line keeps its width from the first to the last step") {
  train::StepReport first = sample();
  first.step = 1;
  first.loss = 11.5;
  first.grad_norm = 123.4;
  first.seconds = 12.3;
  first.drop.rate = 0.25;
  first.load.dead = 31;
  CHECK(train::step_line(first, 2000, 86'000).size() == train::step_line(sample(), 2000, 5).size());
}

TEST_CASE("a skipped step with a loss that is no number says so") {
  train::StepReport report = sample();
  report.loss = std::numeric_limits<double>::quiet_NaN();
  report.skipped = true;
  const std::string line = train::step_line(report, 2000, 1);
  CHECK(line.find("loss     n/a |") != std::string::npos);
  CHECK(line.find("| SKIPPED") != std::string::npos);
}

TEST_CASE("the evaluation line names the set") {
  CHECK(train::eval_line("webster", {1.53124, 4.6239, 2.20912, 123456, 0}) ==
        "eval webster | loss 1.5312 | perplexity 4.62 | 2.2091 bits/byte | 123,456 tokens");
}

}  // namespace
