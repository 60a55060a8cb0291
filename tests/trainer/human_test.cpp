#include "trainer/human.h"

#include <limits>

#include "configs/errors.h"
#include "tests/support/catch.h"

namespace {

namespace train = dsmoe::train;

TEST_CASE("counts take the unit that keeps them short") {
  CHECK(train::human_count(0) == "0");
  CHECK(train::human_count(999) == "999");
  CHECK(train::human_count(999.7) == "1.0k");
  CHECK(train::human_count(1234) == "1.2k");
  CHECK(train::human_count(999'949) == "999.9k");
  CHECK(train::human_count(999'951) == "1.0M");
  CHECK(train::human_count(236e9) == "236.0B");
  CHECK(train::human_count(5e16) == "50000.0T");
}

TEST_CASE("bytes are counted in powers of 1024") {
  CHECK(train::human_bytes(0) == "0 B");
  CHECK(train::human_bytes(1023) == "1023 B");
  CHECK(train::human_bytes(1024) == "1.0 KiB");
  CHECK(train::human_bytes(3.4 * 1024 * 1024 * 1024) == "3.4 GiB");
  CHECK(train::human_bytes(1023.99 * 1024) == "1.0 MiB");
}

TEST_CASE("durations have two parts at most") {
  CHECK(train::human_duration(0.25) == "0.2s");
  CHECK(train::human_duration(9.97) == "10s");
  CHECK(train::human_duration(59.6) == "1m00s");
  CHECK(train::human_duration(372) == "6m12s");
  CHECK(train::human_duration(3720) == "1h02m");
  CHECK(train::human_duration(273'600) == "3d04h");
}

TEST_CASE("what is not finite reads n/a") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {nan, infinity, -infinity}) {
    CHECK(train::fixed(value, 2) == "n/a");
    CHECK(train::scientific(value) == "n/a");
    CHECK(train::human_count(value) == "n/a");
    CHECK(train::human_bytes(value) == "n/a");
    CHECK(train::human_duration(value) == "n/a");
  }
}

TEST_CASE("sizes are read with their units") {
  CHECK(train::parse_bytes("5GB", "--size") == 5'000'000'000);
  CHECK(train::parse_bytes("2GiB", "--size") == int64_t{2} << 30);
  CHECK(train::parse_bytes("0.5MB", "--size") == 500'000);
  CHECK(train::parse_bytes("123", "--size") == 123);
  for (const char* wrong : {"", "GB", "5 gigs", "-1GB", "0", "nan", "5gb"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(train::parse_bytes(wrong, "--size"), dsmoe::ConfigError);
  }
}

TEST_CASE("large integers get separators and text gets padding") {
  CHECK(train::with_separators(0) == "0");
  CHECK(train::with_separators(999) == "999");
  CHECK(train::with_separators(1000) == "1,000");
  CHECK(train::with_separators(12345678) == "12,345,678");
  CHECK(train::with_separators(-123456) == "-123,456");
  CHECK(train::pad_left("ab", 4) == "  ab");
  CHECK(train::pad_right("ab", 4) == "ab  ");
  CHECK(train::pad_left("abc", 2) == "abc");
  CHECK(train::fixed(1e300, 1).size() == 303);
}

}  // namespace
