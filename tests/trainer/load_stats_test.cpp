#include "trainer/load_stats.h"

#include <cmath>
#include <stdexcept>
#include <vector>

#include "tests/support/catch.h"

namespace {

using Counts = std::vector<int64_t>;
namespace train = dsmoe::train;

TEST_CASE("uniform load has no violation, no variation and nobody dead") {
  const auto load = train::load_of(Counts{5, 5, 5, 5}, Counts{7, 7});
  CHECK(load.max_vio == 0);
  CHECK(load.min_vio == 0);
  CHECK(load.avg_vio == 0);
  CHECK(load.cv == 0);
  CHECK(load.entropy == Approx(1));
  CHECK(load.dead == 0);
  CHECK(load.starved == 0);
  CHECK(load.received_vio == 0);
  CHECK(load.device_vio == 0);
}

TEST_CASE("load statistics follow their definitions") {
  const Counts counts{8, 0, 2, 2};  // mean 3, squared deviations 25 + 9 + 1 + 1
  CHECK(train::max_vio(counts) == Approx(5.0 / 3));
  CHECK(train::min_vio(counts) == Approx(1.0));
  CHECK(train::avg_vio(counts) == Approx((5.0 + 3 + 1 + 1) / 4 / 3));
  const double shares = -(8 * std::log(8 / 12.0) + 4 * std::log(2 / 12.0)) / 12;
  CHECK(train::load_entropy(counts) == Approx(shares / std::log(4.0)));
  CHECK(train::starved(Counts{1000, 9, 11, 0, 3980}) == 2);  // of a mean of 1000: below 10
  CHECK(train::load_of(counts, Counts{3, 1}).received_vio == Approx(0.5));
  CHECK(train::cv(counts) == Approx(std::sqrt(36.0 / 4) / 3));
  CHECK(train::dead(counts) == 1);
  CHECK(train::device_vio(counts, 2) == Approx(2.0 / 6));
  CHECK(train::device_vio(counts, 4) == Approx(train::max_vio(counts)));
  CHECK(train::device_vio(counts, 1) == 0);
}

TEST_CASE("load statistics of a layer nobody used are finite") {
  const auto load = train::load_of(Counts{0, 0, 0}, Counts{0, 0, 0});
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
  train::LoadValues one{.max_vio = 1.0, .cv = 0.5, .dead = 2, .device_vio = 0.2};
  train::LoadValues two{.max_vio = 3.0, .cv = 1.5, .dead = 3, .device_vio = 0.4};
  one.entropy = 0.5;
  two.starved = 4;
  const auto load = train::over_layers({one, two});
  CHECK(load.entropy == Approx(0.25));
  CHECK(load.starved == 4);
  CHECK(load.max_vio == Approx(2.0));
  CHECK(load.cv == Approx(1.0));
  CHECK(load.dead == 5);
  CHECK(load.device_vio == Approx(0.3));
  CHECK(train::over_layers({}).max_vio == 0);
}

TEST_CASE("specialisation is 0 for domains that route alike and 1 for those that share nothing") {
  CHECK(train::specialisation({{1, 2, 3}, {10, 20, 30}}) == Approx(0).margin(1e-15));
  CHECK(train::specialisation({{5, 5, 0, 0}, {0, 0, 7, 1}}) == Approx(1));
  // Shares (1, 0) and (1/2, 1/2): entropy of (3/4, 1/4) less half of ln 2, over ln 2.
  const double mixed = -(0.75 * std::log(0.75) + 0.25 * std::log(0.25));
  CHECK(train::specialisation({{4, 0}, {3, 3}}) ==
        Approx((mixed - 0.5 * std::log(2.0)) / std::log(2.0)));
  // A domain without tokens says nothing.
  CHECK(train::specialisation({{5, 0}, {0, 0}, {0, 3}}) == Approx(1));
  CHECK(std::isnan(train::specialisation({{1, 2, 3}})));
}

}  // namespace
