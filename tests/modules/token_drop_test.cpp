#include "modules/token_drop.h"

#include <rapidcheck.h>

#include <algorithm>
#include <vector>

#include "parallel/local_communicator.h"
#include "tests/modules/golden.h"
#include "tests/modules/numeric.h"
#include "tests/support/catch.h"
#include "tests/support/thread_world.h"

namespace dsmoe::nn {
namespace {

config::ModelConfig model(int64_t experts, int64_t groups, int64_t choices) {
  config::ModelConfig config;
  config.n_routed_experts = experts;
  config.n_group = groups;
  config.num_experts_per_tok = choices;
  return config;
}

template <class Out, class In>
std::vector<Out> flatten(const nlohmann::json& rows) {
  std::vector<Out> flat;
  for (const auto& row : rows) {
    for (const auto& value : row) flat.push_back(static_cast<Out>(value.get<In>()));
  }
  return flat;
}

TEST_CASE("what a pool keeps equals the golden masks") {
  const auto root = test::golden("drop");
  REQUIRE(root.at("cases").size() == 12);
  const auto& shape = root.at("config");
  const auto config =
      model(shape.at("n_routed_experts"), shape.at("n_group"), shape.at("num_experts_per_tok"));
  for (const auto& wanted : root.at("cases")) {
    const int64_t seed = wanted.at("seed");
    const double capacity = wanted.at("capacity");
    CAPTURE(seed, capacity);
    RoutedPairs pairs;
    pairs.tokens = static_cast<int64_t>(wanted.at("experts").size());
    pairs.pools.assign(wanted.at("experts").size(), 5);
    pairs.valid.assign(wanted.at("experts").size(), 1);
    for (const bool flag : wanted.at("protected")) pairs.protected_.push_back(flag ? 1 : 0);
    pairs.experts = flatten<int64_t, int64_t>(wanted.at("experts"));
    pairs.affinities = flatten<double, double>(wanted.at("affinities"));
    const auto kept = flatten<char, bool>(wanted.at("kept"));
    CHECK(keep_within_budget(pairs, {.capacity = capacity}, config) == kept);
  }
}

/// Three pools, ties, padding and protected tokens.
RoutedPairs random_pairs(const config::ModelConfig& config) {
  RoutedPairs pairs;
  pairs.tokens = *rc::gen::inRange<int64_t>(0, 30);
  const int64_t levels = *rc::gen::element<int64_t>(2, 1000);
  for (int64_t n = 0; n < pairs.tokens; ++n) {
    pairs.pools.push_back(*rc::gen::inRange<int64_t>(0, 3));
    pairs.protected_.push_back(*rc::gen::inRange(0, 4) == 0 ? 1 : 0);
    pairs.valid.push_back(*rc::gen::inRange(0, 5) == 0 ? 0 : 1);
    const int64_t first = *rc::gen::inRange<int64_t>(0, config.n_routed_experts);
    for (int64_t k = 0; k < config.num_experts_per_tok; ++k) {
      pairs.experts.push_back((first + k * k) % config.n_routed_experts);
      pairs.affinities.push_back(static_cast<double>(*rc::gen::inRange<int64_t>(1, levels)));
    }
  }
  return pairs;
}

/// The pairs of one pool and group, with what happened to them.
struct Share {
  int64_t tokens = 0;  ///< of the pool
  int64_t pairs = 0, kept = 0, protected_ = 0;
  double highest_dropped = -1, lowest_kept = 1e300;  ///< of those not protected
};

Share share_of(const RoutedPairs& all, const std::vector<char>& kept, int64_t pool, int64_t group,
               const config::ModelConfig& config) {
  Share share;
  const auto choices = static_cast<size_t>(config.num_experts_per_tok);
  for (size_t n = 0; n < static_cast<size_t>(all.tokens); ++n) {
    if (all.pools[n] != pool || all.valid[n] == 0) continue;
    ++share.tokens;
    for (size_t p = n * choices; p < (n + 1) * choices; ++p) {
      if (all.experts[p] / config.experts_per_group() != group) continue;
      ++share.pairs;
      share.kept += kept[p];
      share.protected_ += all.protected_[n];
      if (all.protected_[n] != 0) {
        RC_ASSERT(kept[p] == 1);
      } else if (kept[p] != 0) {
        share.lowest_kept = std::min(share.lowest_kept, all.affinities[p]);
      } else {
        share.highest_dropped = std::max(share.highest_dropped, all.affinities[p]);
      }
    }
  }
  return share;
}

TEST_CASE("an expert's budget is that of a device group of one expert") {
  CHECK(rc::check([] {
    const auto config = model(8, *rc::gen::element<int64_t>(1, 2, 4), 3);
    const RoutedPairs pairs = random_pairs(config);
    const double capacity = *rc::gen::element(0.5, 1.0, 1.5);
    const auto kept = keep_within_budget(pairs, {config::DropKind::kExpert, capacity}, config);
    RC_ASSERT(kept == keep_within_budget(pairs, {config::DropKind::kDevice, capacity},
                                         model(8, /*groups=*/8, 3)));
  }));
}

TEST_CASE("dropping by position is dropping by an affinity that falls with the position") {
  CHECK(rc::check([] {
    const auto config = model(8, 4, 3);
    RoutedPairs pairs = random_pairs(config);
    const config::DropConfig by_position{.capacity = 0.75, .by = config::DropOrder::kPosition};
    const auto kept = keep_within_budget(pairs, by_position, config);
    for (size_t p = 0; p < pairs.affinities.size(); ++p) {
      pairs.affinities[p] = -static_cast<double>(p / 3);
    }
    RC_ASSERT(kept == keep_within_budget(pairs, {.capacity = 0.75}, config));
  }));
}

TEST_CASE("dropping uses the budget up, protects, and drops the lowest affinities") {
  CHECK(rc::check([] {
    const auto config = model(8, *rc::gen::element<int64_t>(1, 2, 4), 3);
    const RoutedPairs pairs = random_pairs(config);
    const int64_t quarters = *rc::gen::inRange<int64_t>(1, 9);
    const config::DropConfig drop{.capacity = static_cast<double>(quarters) / 4.0};
    const auto kept = keep_within_budget(pairs, drop, config);
    RC_ASSERT(kept == keep_within_budget(pairs, drop, config));
    RC_ASSERT(static_cast<int64_t>(kept.size()) == pairs.tokens * 3);
    for (size_t p = 0; p < kept.size(); ++p) RC_ASSERT(kept[p] == 0 || pairs.valid[p / 3] == 1);
    for (int64_t pool = 0; pool < 3; ++pool) {
      for (int64_t g = 0; g < config.n_group; ++g) {
        const Share share = share_of(pairs, kept, pool, g, config);
        const int64_t places = 4 * config.n_group;
        const int64_t budget = (quarters * 3 * share.tokens + places - 1) / places;
        RC_ASSERT(share.kept == std::min(share.pairs, std::max(budget, share.protected_)));
        RC_ASSERT(share.highest_dropped <= share.lowest_kept);
      }
    }
  }));
}

TEST_CASE("a capacity of the number of groups drops nothing") {
  CHECK(rc::check([] {
    const auto config = model(8, 4, 3);
    RoutedPairs pairs = random_pairs(config);
    const auto kept = keep_within_budget(pairs, {.capacity = 4.0}, config);
    for (size_t p = 0; p < kept.size(); ++p) RC_ASSERT(kept[p] == pairs.valid[p / 3]);
  }));
}

Routing random_routing(int64_t tokens, const config::ModelConfig& config) {
  return route(test::random({tokens, config.n_routed_experts}, 3, 2.0), {}, config);
}

TEST_CASE("the mask is undefined without dropping and padding, and the valid tokens with padding") {
  const auto config = model(8, 4, 3);
  parallel::LocalCommunicator ep("ep");
  const TokenDropper dropper(config, {.capacity = 0.5}, {.micro_sequences = 2}, ep);
  const TokenDropper off(config, {.kind = config::DropKind::kNone}, {.micro_sequences = 2}, ep);
  const Routing routing = random_routing(10, config);
  SequenceInfo sequences{{0, 1}, {false, true}, {}};
  CHECK_FALSE(dropper.keep(routing, sequences, false).defined());
  CHECK_FALSE(off.keep(routing, sequences, true).defined());
  const at::Tensor kept_NK = dropper.keep(routing, sequences, true);
  CHECK_FALSE(kept_NK.slice(0, 0, 5).all().item<bool>());
  CHECK(kept_NK.slice(0, 5).all().item<bool>());
  CHECK(kept_NK.slice(0, 0, 5).sum().item<int64_t>() <= 4 * 2);  // ceil(0.5 * 3 * 5 / 4) a group
  sequences.valid_BT = at::arange(10, at::kLong).view({2, 5}).lt(7);
  const at::Tensor valid_NK = sequences.valid_BT.view({10, 1}).expand({10, 3});
  CHECK(dropper.keep(routing, sequences, false).equal(valid_NK));
  CHECK(off.keep(routing, sequences, true).equal(valid_NK));
  CHECK(dropper.gathered_bytes(5) == 0);
}

TEST_CASE("a pool that spans two ranks is decided as on one, also by a rank with less to do") {
  const auto config = model(8, 4, 3);
  const config::DropConfig drop{.capacity = 0.5};
  const Routing all = random_routing(15, config);
  const SequenceInfo sequences{{0, 0, 0}, {false, true, false}, {}};
  parallel::LocalCommunicator alone("ep");
  const at::Tensor wanted_NK = TokenDropper(config, drop, {.micro_sequences = 4, .pool = 4}, alone)
                                   .keep(all, sequences, true);
  std::vector<at::Tensor> parts(2);
  test::run_ranks(2, [&](parallel::Communicator& ep) {
    const TokenDropper dropper(config, drop, {.micro_sequences = 2, .pool = 4}, ep);
    const auto r = static_cast<size_t>(ep.rank());
    const int64_t begin = ep.rank() * 10, end = std::min<int64_t>(begin + 10, 15);
    const Routing own{
        {}, all.scores_NE.slice(0, begin, end), all.experts_NK.slice(0, begin, end), {}};
    const SequenceInfo mine =
        r == 0 ? SequenceInfo{{0, 0}, {false, true}, {}} : SequenceInfo{{0}, {false}, {}};
    parts[r] = dropper.keep(own, mine, true);
  });
  CHECK(at::cat(parts).equal(wanted_NK));
  CHECK_FALSE(wanted_NK.all().item<bool>());
}

}  // namespace
}  // namespace dsmoe::nn
