#include "trainer/noise_floor.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"

namespace {

using dsmoe::train::noise_floor;

dsmoe::config::ModelConfig sixteen_of_four(dsmoe::config::TopkMethod method) {
  dsmoe::config::ModelConfig model;  // 16 experts in 4 groups, K 4, M 2
  model.topk_method = method;
  return model;
}

TEST_CASE("the noise floor of cv is that of the binomial distribution") {
  // A token takes an expert with probability p = K / E: counts have variance N p (1 - p).
  const auto floor = noise_floor(sixteen_of_four(dsmoe::config::TopkMethod::kGreedy), 4096);
  const double p = 0.25;
  CHECK(floor.load.cv == Approx(std::sqrt((1 - p) / (p * 4096))).epsilon(0.15));
  CHECK(floor.load.max_vio > floor.load.cv);
  CHECK(floor.load.max_vio < 4 * floor.load.cv);
  CHECK(1 - floor.load.entropy ==
        Approx(floor.load.cv * floor.load.cv / 2 / std::log(16.0)).epsilon(0.2));
}

TEST_CASE("a group limit makes devices more uneven by chance") {
  const auto limited =
      noise_floor(sixteen_of_four(dsmoe::config::TopkMethod::kGroupLimitedGreedy), 4096);
  const auto free = noise_floor(sixteen_of_four(dsmoe::config::TopkMethod::kGreedy), 4096);
  CHECK(limited.load.device_vio > 1.3 * free.load.device_vio);
}

TEST_CASE("violations by chance shrink with the root of the tokens, beyond the simulation, too") {
  const auto model = sixteen_of_four(dsmoe::config::TopkMethod::kGroupLimitedGreedy);
  const double small = noise_floor(model, 1024).load.max_vio;
  const double large = noise_floor(model, 16384).load.max_vio;
  const double huge = noise_floor(model, 16384 * 4).load.max_vio;
  CHECK(small / large == Approx(4.0).epsilon(0.3));
  CHECK(large / huge == Approx(2.0));
}

TEST_CASE("few tokens leave experts dead by chance, and the file says so") {
  const auto floor = noise_floor(sixteen_of_four(dsmoe::config::TopkMethod::kGreedy), 2);
  CHECK(floor.load.dead >= 8);
  const auto json = nlohmann::json::parse(to_json(floor));
  CHECK(json["tokens"] == 2);
  CHECK(json["dead"] == floor.load.dead);
}

}  // namespace
