#include "data/blend.h"

#include <rapidcheck.h>

#include <cmath>
#include <string>
#include <vector>

#include "configs/errors.h"
#include "tests/data/files.h"
#include "tests/support/catch.h"

namespace dsmoe::data {
namespace {

std::vector<int64_t> sources(const std::vector<double>& weights, int64_t count) {
  std::vector<int64_t> result;
  for (const BlendPick pick : Blend(weights).picks(0, count)) {
    result.push_back(pick.source);
  }
  return result;
}

bool same(const BlendPick& a, const BlendPick& b) {
  return a.source == b.source && a.index == b.index;
}

TEST_CASE("the blend picks the source that is furthest behind, the first on ties") {
  const std::vector<int64_t> first{0, 1, 2, 0, 1, 0, 2, 0, 1, 0, 0, 1};
  CHECK(sources({0.5, 0.3, 0.2}, 12) == first);
  CHECK(sources({5.0, 3.0, 2.0}, 12) == first);
  CHECK(sources({0.7, 0.2, 0.1}, 10) == std::vector<int64_t>{0, 1, 0, 2, 0, 0, 1, 0, 0, 0});
  CHECK(sources({7, 2, 1}, 10) == std::vector<int64_t>{0, 1, 0, 2, 0, 0, 1, 0, 0, 0});
}

TEST_CASE("a single source is counted through, at any height") {
  Blend blend({3.0});
  CHECK(same(blend.picks(int64_t{1} << 50, (int64_t{1} << 50) + 1)[0], {0, int64_t{1} << 50}));
}

TEST_CASE("picks are the same in whatever order ranges are asked for") {
  const std::vector<double> weights{0.61, 0.27, 0.12};
  const std::vector<BlendPick> all = Blend(weights).picks(0, 300000);
  Blend blend(weights);
  const bool ok = rc::check([&] {
    const auto begin = *rc::gen::inRange<int64_t>(0, 299900);
    const std::vector<BlendPick> some = blend.picks(begin, begin + 100);
    for (size_t i = 0; i < some.size(); ++i) {
      RC_ASSERT(same(some[i], all[static_cast<size_t>(begin) + i]));
    }
  });
  CHECK(ok);
}

TEST_CASE("each source stays within its share and its sequences are used in turn") {
  const std::vector<double> weights{0.9, 0.07, 0.02, 0.01};
  std::vector<int64_t> counts(weights.size(), 0);
  bool in_turn = true;
  double furthest = 0.0;
  for (const BlendPick pick : Blend(weights).picks(0, 20000)) {
    in_turn &= pick.index == counts[static_cast<size_t>(pick.source)]++;
    int64_t n = 0;
    for (const int64_t count : counts) n += count;
    for (size_t i = 0; i < weights.size(); ++i) {
      furthest = std::max(
          furthest, std::abs(weights[i] * static_cast<double>(n) - static_cast<double>(counts[i])));
    }
  }
  CHECK(in_turn);
  CHECK(furthest < 3.0);
}

TEST_CASE("a weight that is not positive is refused with its key and value") {
  const auto complaint = [](std::vector<double> weights) {
    return test::message_of<ConfigError>([&] { Blend blend(weights); });
  };
  CHECK(test::has(complaint({1.0, 0.0}), "data.train[1].weight (0.0"));
  CHECK(test::has(complaint({-2.0}), "data.train[0].weight (-2.0"));
  CHECK(test::has(complaint({std::nan("")}), "data.train[0].weight (nan"));
  CHECK(test::has(complaint({}), "data.train names no source"));
}

}  // namespace
}  // namespace dsmoe::data
