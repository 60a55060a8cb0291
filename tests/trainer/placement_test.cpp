#include "trainer/placement.h"

#include "tests/support/catch.h"

namespace {

using dsmoe::train::Placement;

TEST_CASE("ranks share cores where one of these is the same on the same host") {
  const std::vector<Placement> ranks{{"a", {0, 1}}, {"a", {1, 2}}, {"a", {3}}, {"b", {0, 1}}};
  CHECK(dsmoe::train::ranks_on_cores_of(ranks, 0, 4) == 2);
  CHECK(dsmoe::train::ranks_on_cores_of(ranks, 2, 4) == 1);
  CHECK(dsmoe::train::ranks_on_cores_of(ranks, 3, 4) == 1);
}

TEST_CASE("hosts of one name are told apart by how many ranks a host has") {
  const std::vector<Placement> ranks(4, {"box", {0, 1}});
  CHECK(dsmoe::train::ranks_on_cores_of(ranks, 0, 4) == 4);
  CHECK(dsmoe::train::ranks_on_cores_of(ranks, 0, 2) == 2);
}

TEST_CASE("a rank that knows of no core counts itself") {
  CHECK(dsmoe::train::ranks_on_cores_of({{"a", {}}}, 0, 1) == 1);
}

TEST_CASE("numbers are told as ranges") {
  CHECK(dsmoe::train::ranges_text({0, 1, 2, 3, 8, 10, 11}) == "0-3,8,10-11");
  CHECK(dsmoe::train::ranges_text({}).empty());
}

TEST_CASE("ranks of one place are told together") {
  dsmoe::train::Table table;
  table.section("ranks");
  dsmoe::train::add_placement_rows(table, {{"a", {0, 1}}, {"a", {0, 1}}, {"b", {4}}}, {2, 2, 1});
  CHECK(table.text() ==
        "ranks\n"
        "  ranks 0-1  a, cores 0-1, 2 threads each\n"
        "  rank 2     b, cores 4, 1 thread");
}

}  // namespace
