#include "data/curriculum.h"

#include <map>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace dsmoe::data {
namespace {

config::DataConfig three_sources(std::vector<config::DataStage> stages) {
  config::DataConfig config;
  config.sequence_length = 10;
  config.train = {{"a", 1.0, "a"}, {"b", 1.0, "b"}, {"c", 1.0, "c"}};
  config.stages = std::move(stages);
  return config;
}

using Counts = std::map<int64_t, int64_t>;

Counts count(const std::vector<BlendPick>& picks) {
  Counts counts;
  for (const BlendPick pick : picks) ++counts[pick.source];
  return counts;
}

const std::vector<config::DataStage> kThree{
    {1000, {{"a", 1.0}}}, {2005, {{"c", 1.0}, {"a", 3.0}}}, {0, {{"b", 1.0}, {"c", 1.0}}}};

TEST_CASE("each stage has its mixture for its tokens, cut at whole sequences") {
  Curriculum curriculum(three_sources(kThree));
  CHECK(curriculum.begins() == std::vector<int64_t>{0, 100, 301});  // 3005 tokens in rows of 10
  CHECK(count(curriculum.picks(0, 100)) == Counts{{0, 100}});
  CHECK(count(curriculum.picks(100, 300)) == Counts{{0, 150}, {2, 50}});
  CHECK(count(curriculum.picks(301, 501)) == Counts{{1, 100}, {2, 100}});
}

TEST_CASE("a source goes on in a stage where the one before left it") {
  Curriculum curriculum(three_sources(kThree));
  std::map<int64_t, int64_t> next;
  for (const BlendPick pick : curriculum.picks(0, 1000)) {
    REQUIRE(pick.index == next[pick.source]++);
  }
}

TEST_CASE("picks are the same in whatever order ranges are asked for, across stages") {
  const auto all = Curriculum(three_sources(kThree)).picks(0, 600);
  Curriculum curriculum(three_sources(kThree));
  for (const int64_t begin : {590, 299, 0, 95, 250, 301}) {
    const auto some = curriculum.picks(begin, begin + 10);
    for (size_t i = 0; i < some.size(); ++i) {
      const BlendPick& wanted = all[static_cast<size_t>(begin) + i];
      CHECK((some[i].source == wanted.source && some[i].index == wanted.index));
    }
  }
}

TEST_CASE("without stages it is the blend of data.train") {
  auto config = three_sources({});
  config.train[1].weight = 2.0;
  const auto picks = Curriculum(config).picks(0, 400);
  CHECK(count(picks) == Counts{{0, 100}, {1, 200}, {2, 100}});
  CHECK(Curriculum(config).begins() == std::vector<int64_t>{0});
}

}  // namespace
}  // namespace dsmoe::data
