#include "modules/layer_slices.h"

#include <algorithm>
#include <limits>

#include "modules/model_census.h"

namespace dsmoe::nn {
namespace {

/// Sums of what stands before each layer; the head's cost is the last layer's.
std::vector<double> costs_before(const config::RunConfig& config) {
  std::vector<double> flops = count_layer_flops(config.model, config.data.sequence_length);
  const double head = flops.back();
  flops.pop_back();
  flops.back() += head;
  std::vector<double> before{0};
  for (const double one : flops) before.push_back(before.back() + one);
  return before;
}

/// Where `count` slices end so that the costliest costs least: best[k][i] is that cost for the
/// first i layers in k slices, and from[k][i] where the last of these begins.
std::vector<LayerSlice> balanced(const std::vector<double>& before, int64_t count) {
  const size_t layers = before.size() - 1, slices = static_cast<size_t>(count);
  constexpr double kNever = std::numeric_limits<double>::infinity();
  std::vector<std::vector<double>> best(slices + 1, std::vector<double>(layers + 1, kNever));
  std::vector<std::vector<size_t>> from(slices + 1, std::vector<size_t>(layers + 1, 0));
  best[0][0] = 0;
  for (size_t k = 1; k <= slices; ++k) {
    for (size_t end = k; end <= layers; ++end) {
      for (size_t begin = k - 1; begin < end; ++begin) {
        const double cost = std::max(best[k - 1][begin], before[end] - before[begin]);
        if (cost < best[k][end]) {
          best[k][end] = cost;
          from[k][end] = begin;
        }
      }
    }
  }
  std::vector<LayerSlice> result(slices);
  size_t end = layers;
  for (size_t k = slices; k > 0; --k) {
    const size_t begin = from[k][end];
    result[k - 1] = {static_cast<int64_t>(begin), static_cast<int64_t>(end)};
    end = begin;
  }
  return result;
}

std::vector<LayerSlice> listed(const std::vector<int64_t>& counts) {
  std::vector<LayerSlice> slices;
  int64_t begin = 0;
  for (const int64_t count : counts) {
    slices.push_back({begin, begin + count});
    begin += count;
  }
  return slices;
}

}  // namespace

std::vector<LayerSlice> one_slice(const config::ModelConfig& model) {
  return {{0, model.num_hidden_layers}};
}

std::vector<LayerSlice> pipeline_slices(const config::RunConfig& config) {
  const config::ParallelConfig& parallel = config.parallel;
  if (parallel.pipeline == 1) return one_slice(config.model);
  if (!parallel.stage_layers.empty()) return listed(parallel.stage_layers);
  return balanced(costs_before(config), parallel.pipeline * parallel.chunks);
}

std::vector<LayerSlice> slices_of_stage(const config::RunConfig& config, int64_t stage) {
  const auto all = pipeline_slices(config);
  std::vector<LayerSlice> own;
  for (size_t i = static_cast<size_t>(stage); i < all.size();
       i += static_cast<size_t>(config.parallel.pipeline)) {
    own.push_back(all[i]);
  }
  return own;
}

}  // namespace dsmoe::nn
