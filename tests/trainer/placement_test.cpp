#include "trainer/placement.h"

#include "configs/errors.h"
#include "tests/support/catch.h"

namespace {

using dsmoe::train::Placement;

TEST_CASE("ranks share cores where one of these is the same on the same host") {
  const std::vector<Placement> ranks{
      {"a", "1", {0, 1}}, {"a", "1", {1, 2}}, {"a", "1", {3}}, {"b", "2", {0, 1}}};
  CHECK(dsmoe::train::ranks_on_cores_of(ranks, 0, 4) == 2);
  CHECK(dsmoe::train::ranks_on_cores_of(ranks, 2, 4) == 1);
  CHECK(dsmoe::train::ranks_on_cores_of(ranks, 3, 4) == 1);
}

TEST_CASE("machines of one name do not share cores") {
  const std::vector<Placement> ranks{
      {"box", "1", {0, 1}}, {"box", "1", {0, 1}}, {"box", "2", {0, 1}}, {"box", "2", {2}}};
  CHECK(dsmoe::train::ranks_on_cores_of(ranks, 0, 4) == 2);
  CHECK(dsmoe::train::ranks_on_cores_of(ranks, 3, 4) == 1);
}

TEST_CASE("no more ranks share cores than the launcher counts on the host") {
  const std::vector<Placement> ranks(4, {"box", "1", {0, 1}});
  CHECK(dsmoe::train::ranks_on_cores_of(ranks, 0, 2) == 2);
}

TEST_CASE("a rank that knows of no core counts itself") {
  CHECK(dsmoe::train::ranks_on_cores_of({{"a", "1", {}}}, 0, 1) == 1);
}

TEST_CASE("nodes are the machines, with as many consecutive ranks each") {
  using dsmoe::train::node_shape;
  using dsmoe::train::NodeShape;
  const auto on = [](const std::string& machines) {
    std::vector<Placement> ranks;
    for (const char machine : machines) ranks.push_back({"box", {machine}, {0}});
    return ranks;
  };
  CHECK(node_shape(on("a")) == NodeShape{1, 1});
  CHECK(node_shape(on("aaaa")) == NodeShape{1, 4});
  CHECK(node_shape(on("aabb")) == NodeShape{2, 2});
  CHECK(node_shape(on("bac")) == NodeShape{3, 1});
  for (const char* unequal : {"aab", "abb", "abab", "aabbaa"}) {
    CHECK_THROWS_AS(node_shape(on(unequal)), dsmoe::UserError);
  }
}

TEST_CASE("numbers are told as ranges") {
  CHECK(dsmoe::train::ranges_text({0, 1, 2, 3, 8, 10, 11}) == "0-3,8,10-11");
  CHECK(dsmoe::train::ranges_text({}).empty());
}

TEST_CASE("ranks of one place are told together") {
  dsmoe::train::Table table;
  table.section("ranks");
  dsmoe::train::add_placement_rows(table, {{"a", "1", {0, 1}}, {"a", "1", {0, 1}}, {"b", "2", {4}}},
                                   {2, 2, 1});
  CHECK(table.text() ==
        "ranks\n"
        "  ranks 0-1  a, cores 0-1, 2 threads each\n"
        "  rank 2     b, cores 4, 1 thread");
}

}  // namespace
