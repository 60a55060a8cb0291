#include "trainer/gradient_buckets.h"

#include <algorithm>

#include "parallel/local_communicator.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_run.h"

namespace dsmoe::test {
namespace {

using nn::ParameterGroup;
using train::GradientBucket;

std::vector<GradientBucket> buckets_of(const config::RunConfig& config,
                                       const std::vector<nn::LayerSlice>& slices, int64_t bytes,
                                       const nn::TrainingRate& rate = nn::train_all()) {
  parallel::LocalCommunicator world;
  nn::Model model(config.model, config.drop, config.batch, world);
  const nn::ParameterStore store(model, at::kDouble, rate);
  return train::gradient_buckets(store, slices, config.model, bytes);
}

/// How often each number of a group is in a bucket.
std::vector<int> covered(const std::vector<GradientBucket>& buckets, ParameterGroup group,
                         int64_t numbers) {
  std::vector<int> times(static_cast<size_t>(numbers));
  for (const GradientBucket& bucket : buckets) {
    if (bucket.group != group) continue;
    for (const auto& range : bucket.ranges) {
      for (int64_t i = range.begin; i < range.end; ++i) ++times[static_cast<size_t>(i)];
    }
  }
  return times;
}

void check_covers(const std::vector<GradientBucket>& buckets, const nn::ParameterStore& store) {
  for (const auto group : {ParameterGroup::kDense, ParameterGroup::kExpert}) {
    const auto times = covered(buckets, group, store.gradients().of(group).numel());
    CHECK(std::all_of(times.begin(), times.end(), [](int count) { return count == 1; }));
  }
}

TEST_CASE("every trained number is in one bucket, whatever its size") {
  const config::RunConfig config = tiny_run();
  parallel::LocalCommunicator world;
  for (const bool frozen : {false, true}) {
    const nn::TrainingRate rate = [&](const std::string& name) {
      return frozen && name.find("layers.1.mlp.experts.3") != std::string::npos ? 0.0 : 1.0;
    };
    nn::Model fresh(config.model, config.drop, config.batch, world);
    const nn::ParameterStore store(fresh, at::kDouble, rate);
    for (const int64_t bytes : {int64_t{1}, int64_t{4096}, int64_t{1} << 40}) {
      check_covers(train::gradient_buckets(store, nn::one_slice(config.model), config.model, bytes),
                   store);
      check_covers(train::gradient_buckets(store, {{0, 1}, {1, config.model.num_hidden_layers}},
                                           config.model, bytes),
                   store);
    }
  }
}

TEST_CASE("buckets follow the backward pass, and end with the embeddings") {
  const config::RunConfig config = tiny_run();
  const auto buckets = buckets_of(config, nn::one_slice(config.model), 1);
  std::vector<int64_t> dense;
  for (const GradientBucket& bucket : buckets) {
    if (bucket.group == ParameterGroup::kDense) dense.push_back(bucket.layer);
  }
  CHECK(dense == std::vector<int64_t>{2, 1, 0, -1});
}

TEST_CASE("a bucket is as large as asked for, and one where that is everything") {
  const config::RunConfig config = tiny_run();
  const auto all = buckets_of(config, nn::one_slice(config.model), int64_t{1} << 40);
  REQUIRE(all.size() == 2);
  CHECK(all[0].layer == -1);
  CHECK(all[0].ranges.size() == 1);
  const auto slices = buckets_of(config, {{0, 1}, {1, 3}}, int64_t{1} << 40);
  REQUIRE(slices.size() == 3);
  CHECK(slices[0].slice == 1);
  CHECK(slices[2].slice == 0);
  CHECK(slices[2].layer == -1);
}

}  // namespace
}  // namespace dsmoe::test
