#include "trainer/load_stats.h"

#include <cmath>
#include <stdexcept>
#include <vector>

#include "tests/support/catch.h"

namespace {

using Counts = std::vector<int64_t>;
namespace train = dsmoe::train;

TEST_CASE("uniform load has no violation, no variation and nobody dead") {
  const auto load = train::load_of(Counts{5, 5, 5, 5}, 2);
  CHECK(load.max_vio == 0);
  CHECK(load.cv == 0);
  CHECK(load.dead == 0);
  CHECK(load.device_vio == 0);
}

TEST_CASE("load statistics follow their definitions") {
  const Counts counts{8, 0, 2, 2};  // mean 3, squared deviations 25 + 9 + 1 + 1
  CHECK(train::max_vio(counts) == Approx(5.0 / 3));
  CHECK(train::cv(counts) == Approx(std::sqrt(36.0 / 4) / 3));
  CHECK(train::dead(counts) == 1);
  CHECK(train::device_vio(counts, 2) == Approx(2.0 / 6));
  CHECK(train::device_vio(counts, 4) == Approx(train::max_vio(counts)));
  CHECK(train::device_vio(counts, 1) == 0);
}

TEST_CASE("load statistics of a layer nobody used are finite") {
  const auto load = train::load_of(Counts{0, 0, 0}, 3);
  CHECK(load.max_vio == 0);
  CHECK(load.cv == 0);
  CHECK(load.dead == 3);
  CHECK(load.device_vio == 0);
}

TEST_CASE("devices must divide the experts") {
  CHECK_THROWS_AS(train::device_vio(Counts{1, 2, 3}, 2), std::invalid_argument);
  CHECK_THROWS_AS(train::device_vio(Counts{1, 2, 3}, 0), std::invalid_argument);
}

TEST_CASE("over layers loads are averaged and the dead are summed") {
  const auto load = train::over_layers({{1.0, 0.5, 2, 0.2}, {3.0, 1.5, 3, 0.4}});
  CHECK(load.max_vio == Approx(2.0));
  CHECK(load.cv == Approx(1.0));
  CHECK(load.dead == 5);
  CHECK(load.device_vio == Approx(0.3));
  CHECK(train::over_layers({}).max_vio == 0);
}

}  // namespace
