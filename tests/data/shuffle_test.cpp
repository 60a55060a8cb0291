#include "data/shuffle.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace dsmoe::data {
namespace {

TEST_CASE("a permutation holds every number once and depends on its key") {
  for (const int64_t n : {0, 1, 2, 1000}) {
    std::vector<int64_t> order = permutation(n, 5);
    std::sort(order.begin(), order.end());
    bool whole = static_cast<int64_t>(order.size()) == n;
    for (size_t i = 0; whole && i < order.size(); ++i) {
      whole = order[i] == static_cast<int64_t>(i);
    }
    CHECK(whole);
  }
  CHECK(permutation(1000, 5) == permutation(1000, 5));
  CHECK(permutation(1000, 5) != permutation(1000, 6));
}

TEST_CASE("all orders of four numbers come about equally often") {
  std::vector<std::vector<int64_t>> orders;
  for (int64_t seed = 0; seed < 24000; ++seed) {
    orders.push_back(permutation(4, make_key({seed})));
  }
  std::sort(orders.begin(), orders.end());
  const std::set<std::vector<int64_t>> distinct(orders.begin(), orders.end());
  CHECK(distinct.size() == 24);
  for (const auto& order : distinct) {
    const auto [first, last] = std::equal_range(orders.begin(), orders.end(), order);
    CHECK(last - first > 850);
    CHECK(last - first < 1150);
  }
}

TEST_CASE("a key depends on each part and on their order") {
  const std::set<uint64_t> keys{make_key({1, 0, 0}), make_key({0, 1, 0}), make_key({0, 0, 1}),
                                make_key({0, 0, 0}), make_key({0, 0}),    make_key({-1, 0, 0})};
  CHECK(keys.size() == 6);
}

TEST_CASE("keys and permutations are those of the independent script, for good") {
  std::ifstream file(DSMOE_SOURCE_DIR "/tests/golden/order.json");
  const auto golden = nlohmann::json::parse(file);
  const uint64_t key = make_key({7, 2, 3, 1});
  CHECK(std::to_string(key) == golden["key"].get<std::string>());
  CHECK(permutation(20, key) == golden["permutation"].get<std::vector<int64_t>>());
}

}  // namespace
}  // namespace dsmoe::data
