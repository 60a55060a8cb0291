#include "data/blend.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "configs/errors.h"

namespace dsmoe::data {
namespace {

constexpr int64_t kStride = 65536;

void check_weights(const std::vector<double>& weights) {
  if (weights.empty()) {
    throw ConfigError("data.train names no source\nhint: data.train: [{path: FILE, name: NAME}]");
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!std::isfinite(weights[i]) || weights[i] <= 0.0) {
      throw ConfigError("data.train[" + std::to_string(i) + "].weight (" +
                        std::to_string(weights[i]) +
                        ") must be a positive number\nhint: leave out a source that is not wanted");
    }
  }
}

/// From the smallest on: rounding is least, and decimal weights that sum to 1 do so here.
double sum_of(std::vector<double> weights) {
  std::sort(weights.begin(), weights.end());
  return std::accumulate(weights.begin(), weights.end(), 0.0);
}

}  // namespace

Blend::Blend(std::vector<double> weights) : weights_(std::move(weights)) {
  check_weights(weights_);
  const double sum = sum_of(weights_);
  for (double& weight : weights_) {
    weight /= sum;
  }
  state_.counts.assign(weights_.size(), 0);
}

BlendPick Blend::step() {
  if (state_.number % kStride == 0 &&
      state_.number / kStride == static_cast<int64_t>(landmarks_.size())) {
    landmarks_.push_back(state_.counts);
  }
  const auto n = static_cast<double>(std::max<int64_t>(state_.number, 1));
  size_t best = 0;
  double most_behind = -1.0e300;
  for (size_t i = 0; i < weights_.size(); ++i) {
    const double behind = weights_[i] * n - static_cast<double>(state_.counts[i]);
    if (behind > most_behind) {
      most_behind = behind;
      best = i;
    }
  }
  state_.number += 1;
  return {static_cast<int64_t>(best), state_.counts[best]++};
}

void Blend::go_to(int64_t number) {
  const int64_t known =
      std::min<int64_t>(number / kStride, static_cast<int64_t>(landmarks_.size()) - 1);
  if (number < state_.number || known * kStride > state_.number) {
    state_ = {known * kStride, landmarks_[static_cast<size_t>(known)]};
  }
  while (state_.number < number) {
    step();
  }
}

std::vector<BlendPick> Blend::picks(int64_t begin, int64_t end) {
  std::vector<BlendPick> result;
  result.reserve(static_cast<size_t>(end - begin));
  if (weights_.size() == 1) {
    for (int64_t number = begin; number < end; ++number) {
      result.push_back({0, number});
    }
    return result;
  }
  go_to(begin);
  while (state_.number < end) {
    result.push_back(step());
  }
  return result;
}

std::vector<int64_t> Blend::counts(int64_t number) {
  if (weights_.size() == 1) return {number};
  go_to(number);
  return state_.counts;
}

}  // namespace dsmoe::data
