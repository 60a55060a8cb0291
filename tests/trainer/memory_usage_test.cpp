#include "trainer/memory_usage.h"

#include <vector>

#include "tests/support/catch.h"

namespace {

TEST_CASE("resident memory follows what is allocated, and its peak remembers") {
  constexpr int64_t kBytes = 64 << 20;
  const int64_t before = dsmoe::train::resident_bytes();
  {
    const std::vector<char> block(kBytes, 'x');
    CHECK(dsmoe::train::resident_bytes() - before > kBytes * 9 / 10);
  }
  CHECK(dsmoe::train::resident_bytes() - before < kBytes / 2);
  CHECK(dsmoe::train::peak_resident_bytes() - before > kBytes * 9 / 10);
}

}  // namespace
