#include "tests/support/catch.h"
#include "tests/support/rank_suite.h"

// Compiled into every test_FLOOR that has *_cases.cpp files.
TEST_CASE("every rank case passes with ranks as threads") {
  const int64_t num_ranks = GENERATE(2, 4);
  CAPTURE(num_ranks);
  REQUIRE_FALSE(dsmoe::test::rank_cases().empty());
  for (const auto& failure : dsmoe::test::run_rank_cases_on_threads(num_ranks)) {
    FAIL_CHECK(failure);
  }
}
