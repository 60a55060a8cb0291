#include "trainer/memory_usage.h"

#include <sys/mman.h>

#include <cstring>

#include "tests/support/catch.h"

namespace {

// Straight from the system: allocators may keep what they are given back.
TEST_CASE("resident memory follows what is mapped, and its peak remembers") {
  constexpr int64_t kBytes = 64 << 20;
  const int64_t before = dsmoe::train::resident_bytes();
  void* const block =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(block != MAP_FAILED);
  std::memset(block, 'x', kBytes);
  CHECK(dsmoe::train::resident_bytes() - before > kBytes * 9 / 10);
  ::munmap(block, kBytes);
  CHECK(dsmoe::train::resident_bytes() - before < kBytes / 2);
  CHECK(dsmoe::train::peak_resident_bytes() - before > kBytes * 9 / 10);
}

}  // namespace
