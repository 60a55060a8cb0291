#include "trainer/load_stats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

namespace dsmoe::train {
namespace {

int64_t total(std::span<const int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

double mean(std::span<const int64_t> counts) {
  return static_cast<double>(total(counts)) / static_cast<double>(counts.size());
}

double entropy(const std::vector<double>& shares) {
  double sum = 0;
  for (const double share : shares) sum -= share > 0 ? share * std::log(share) : 0;
  return sum;
}

std::vector<double> shares_of(std::span<const int64_t> counts) {
  std::vector<double> shares;
  const auto all = static_cast<double>(total(counts));
  for (const int64_t count : counts) shares.push_back(static_cast<double>(count) / all);
  return shares;
}

}  // namespace

double max_vio(std::span<const int64_t> counts) {
  if (total(counts) == 0) return 0;
  const auto largest = static_cast<double>(*std::max_element(counts.begin(), counts.end()));
  return (largest - mean(counts)) / mean(counts);
}

double min_vio(std::span<const int64_t> counts) {
  if (total(counts) == 0) return 0;
  const auto smallest = static_cast<double>(*std::min_element(counts.begin(), counts.end()));
  return (mean(counts) - smallest) / mean(counts);
}

double avg_vio(std::span<const int64_t> counts) {
  if (total(counts) == 0) return 0;
  double sum = 0;
  for (const int64_t count : counts) sum += std::abs(static_cast<double>(count) - mean(counts));
  return sum / static_cast<double>(counts.size()) / mean(counts);
}

double load_entropy(std::span<const int64_t> counts) {
  if (total(counts) == 0 || counts.size() < 2) return 0;
  return entropy(shares_of(counts)) / std::log(static_cast<double>(counts.size()));
}

double cv(std::span<const int64_t> counts) {
  if (total(counts) == 0) return 0;
  const double center = mean(counts);
  double squares = 0;
  for (const int64_t count : counts) {
    const double deviation = static_cast<double>(count) - center;
    squares += deviation * deviation;
  }
  return std::sqrt(squares / static_cast<double>(counts.size())) / center;
}

int64_t dead(std::span<const int64_t> counts) {
  return std::count(counts.begin(), counts.end(), int64_t{0});
}

int64_t starved(std::span<const int64_t> counts) {
  constexpr double kShare = 0.01;  // of the mean
  const double limit = kShare * mean(counts);
  return std::count_if(counts.begin(), counts.end(), [&](int64_t count) {
    return count == 0 || static_cast<double>(count) < limit;
  });
}

double device_vio(std::span<const int64_t> counts, int64_t devices) {
  const auto experts = static_cast<int64_t>(counts.size());
  if (devices <= 0 || experts % devices != 0) {
    throw std::invalid_argument("device_vio: " + std::to_string(devices) +
                                " devices do not divide " + std::to_string(experts) + " experts");
  }
  const auto width = static_cast<size_t>(experts / devices);
  std::vector<int64_t> sums;
  for (size_t begin = 0; begin < counts.size(); begin += width) {
    sums.push_back(total(counts.subspan(begin, width)));
  }
  return max_vio(sums);
}

double specialisation(const std::vector<std::vector<int64_t>>& counts) {
  std::vector<std::vector<double>> domains;
  for (const std::vector<int64_t>& one : counts) {
    if (total(one) > 0) domains.push_back(shares_of(one));
  }
  if (domains.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  const auto weight = 1.0 / static_cast<double>(domains.size());
  std::vector<double> mixed(domains.front().size());
  double own = 0;
  for (const std::vector<double>& shares : domains) {
    own += weight * entropy(shares);
    for (size_t e = 0; e < shares.size(); ++e) mixed[e] += weight * shares[e];
  }
  return (entropy(mixed) - own) / std::log(static_cast<double>(domains.size()));
}

LoadValues load_of(std::span<const int64_t> pairs, std::span<const int64_t> received) {
  return {.max_vio = max_vio(pairs),
          .min_vio = min_vio(pairs),
          .avg_vio = avg_vio(pairs),
          .cv = cv(pairs),
          .entropy = load_entropy(pairs),
          .dead = dead(pairs),
          .starved = starved(pairs),
          .device_vio = device_vio(pairs, static_cast<int64_t>(received.size())),
          .received_vio = max_vio(received)};
}

LoadValues over_layers(const std::vector<LoadValues>& layers) {
  LoadValues result;
  for (const LoadValues& layer : layers) {
    const double share = 1.0 / static_cast<double>(layers.size());
    result.max_vio += layer.max_vio * share;
    result.min_vio += layer.min_vio * share;
    result.avg_vio += layer.avg_vio * share;
    result.cv += layer.cv * share;
    result.entropy += layer.entropy * share;
    result.dead += layer.dead;
    result.starved += layer.starved;
    result.device_vio += layer.device_vio * share;
    result.received_vio += layer.received_vio * share;
  }
  return result;
}

}  // namespace dsmoe::train
