#include "modules/layer_slices.h"

#include "modules/model_census.h"
#include "tests/support/catch.h"

namespace config = dsmoe::config;
using dsmoe::nn::LayerSlice;

namespace {

config::RunConfig run_of(int64_t layers, int64_t stages, int64_t chunks = 1) {
  config::RunConfig run;
  run.model.num_hidden_layers = layers;
  run.parallel.pipeline = stages;
  run.parallel.chunks = chunks;
  return run;
}

/// The operations of each slice, the head's with the last.
std::vector<double> costs(const config::RunConfig& run, const std::vector<LayerSlice>& slices) {
  const auto flops = dsmoe::nn::count_layer_flops(run.model, run.data.sequence_length);
  std::vector<double> sums;
  for (const LayerSlice& slice : slices) {
    double sum = slice.last(run.model) ? flops.back() : 0.0;
    for (int64_t i = slice.begin; i < slice.end; ++i) sum += flops[static_cast<size_t>(i)];
    sums.push_back(sum);
  }
  return sums;
}

double costliest(const config::RunConfig& run, const std::vector<LayerSlice>& slices) {
  const auto all = costs(run, slices);
  return *std::max_element(all.begin(), all.end());
}

/// The least costliest slice over every way to cut: tried one by one.
double best_by_trial(config::RunConfig run, int64_t layers) {
  double best = std::numeric_limits<double>::infinity();
  for (int64_t a = 1; a < layers - 1; ++a) {
    for (int64_t b = 1; a + b < layers; ++b) {
      run.parallel.stage_layers = {a, b, layers - a - b};
      best = std::min(best, costliest(run, dsmoe::nn::pipeline_slices(run)));
    }
  }
  return best;
}

}  // namespace

TEST_CASE("operations by layer add up to the model's") {
  const config::ModelConfig model = run_of(5, 1).model;
  const auto flops = dsmoe::nn::count_layer_flops(model, 256);
  double sum = 0;
  for (const double one : flops) sum += one;
  CHECK(flops.size() == 6);
  CHECK(sum == Approx(dsmoe::nn::count_flops(model, 256).forward));
}

TEST_CASE("slices are the model, in order, and none is empty") {
  for (const int64_t stages : {1, 2, 3, 4}) {
    const auto run = run_of(9, stages, stages > 1 ? 2 : 1);
    const auto slices = dsmoe::nn::pipeline_slices(run);
    CHECK(slices.front().first());
    CHECK(slices.back().last(run.model));
    for (size_t i = 0; i < slices.size(); ++i) {
      CHECK(slices[i].begin < slices[i].end);
      if (i > 0) CHECK(slices[i].begin == slices[i - 1].end);
    }
  }
}

TEST_CASE("the costliest stage costs as little as any cut allows") {
  for (const int64_t vocab : {300, 100000}) {
    auto run = run_of(7, 3);
    run.model.vocab_size = vocab;
    const auto slices = dsmoe::nn::pipeline_slices(run);
    CHECK(costliest(run, slices) == Approx(best_by_trial(run, 7)));
  }
}

TEST_CASE("a stage has every pipeline-th slice") {
  auto run = run_of(8, 2, 2);
  run.parallel.stage_layers = {1, 2, 3, 2};
  const bool first = dsmoe::nn::slices_of_stage(run, 0) == std::vector<LayerSlice>{{0, 1}, {3, 6}};
  const bool second = dsmoe::nn::slices_of_stage(run, 1) == std::vector<LayerSlice>{{1, 3}, {6, 8}};
  CHECK(first);
  CHECK(second);
}
