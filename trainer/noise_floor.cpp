#include "trainer/noise_floor.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <vector>

#include "trainer/load_stats.h"

namespace dsmoe::train {
namespace {

constexpr int64_t kMostTokens = 16384;
constexpr int kRepetitions = 8;

/// Moves `count` random ones of the values to the front. std::uniform_int_distribution is not the
/// same everywhere, a remainder is, and its bias is below 1e-9.
void draw(std::vector<int64_t>& values, int64_t count, std::mt19937_64& dice) {
  for (int64_t i = 0; i < count; ++i) {
    const auto left = values.size() - static_cast<size_t>(i);
    std::swap(values[static_cast<size_t>(i)], values[static_cast<size_t>(i) + dice() % left]);
  }
}

std::vector<int64_t> numbers(int64_t count) {
  std::vector<int64_t> all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

/// Tokens that choose by dice.
class RandomRouting {
 public:
  explicit RandomRouting(const config::ModelConfig& model)
      : model_(model),
        limited_(model.topk_method != config::TopkMethod::kGreedy),
        groups_(numbers(model.n_group)),
        candidates_(numbers(limited_ ? model.topk_group * model.experts_per_group()
                                     : model.n_routed_experts)) {}

  LoadValues load(int64_t tokens, std::mt19937_64& dice) {
    std::vector<int64_t> pairs(static_cast<size_t>(model_.n_routed_experts), 0);
    std::vector<int64_t> received(static_cast<size_t>(model_.n_group), 0);
    for (int64_t t = 0; t < tokens; ++t) add_token(pairs, received, dice);
    return load_of(pairs, received);
  }

 private:
  void add_token(std::vector<int64_t>& pairs, std::vector<int64_t>& received,
                 std::mt19937_64& dice) {
    if (limited_) draw(groups_, model_.topk_group, dice);
    draw(candidates_, model_.num_experts_per_tok, dice);
    std::vector<char> visited(static_cast<size_t>(model_.n_group), 0);
    for (int64_t k = 0; k < model_.num_experts_per_tok; ++k) {
      const int64_t expert = expert_of(candidates_[static_cast<size_t>(k)]);
      ++pairs[static_cast<size_t>(expert)];
      char& seen = visited[static_cast<size_t>(expert / model_.experts_per_group())];
      if (seen == 0) ++received[static_cast<size_t>(expert / model_.experts_per_group())];
      seen = 1;
    }
  }

  [[nodiscard]] int64_t expert_of(int64_t candidate) const {
    if (!limited_) return candidate;
    const int64_t size = model_.experts_per_group();
    return groups_[static_cast<size_t>(candidate / size)] * size + candidate % size;
  }

  const config::ModelConfig& model_;
  bool limited_;
  std::vector<int64_t> groups_;
  std::vector<int64_t> candidates_;
};

/// From a simulation of `simulated` tokens to `tokens`.
LoadValues scaled(LoadValues load, int64_t simulated, int64_t tokens) {
  if (tokens == simulated) return load;
  const double share = static_cast<double>(simulated) / static_cast<double>(tokens);
  for (double* value : {&load.max_vio, &load.min_vio, &load.avg_vio, &load.cv, &load.device_vio,
                        &load.received_vio}) {
    *value *= std::sqrt(share);
  }
  load.entropy = 1 - (1 - load.entropy) * share;
  load.dead = load.starved = 0;
  return load;
}

}  // namespace

NoiseFloor noise_floor(const config::ModelConfig& model, int64_t tokens) {
  NoiseFloor floor;
  floor.tokens = tokens;
  if (model.n_routed_experts == 0 || tokens == 0) return floor;
  const int64_t simulated = std::min(tokens, kMostTokens);
  std::mt19937_64 dice(1);  // NOLINT: the same numbers in every run
  RandomRouting routing(model);
  std::vector<LoadValues> loads;
  for (int i = 0; i < kRepetitions; ++i) loads.push_back(routing.load(simulated, dice));
  LoadValues mean = over_layers(loads);
  mean.dead /= kRepetitions;
  mean.starved /= kRepetitions;
  floor.load = scaled(mean, simulated, tokens);
  return floor;
}

NoiseFloor noise_floor_of(const config::RunConfig& config) {
  return noise_floor(config.model, config.batch.sequences * config.data.sequence_length);
}

std::string to_json(const NoiseFloor& floor) {
  const LoadValues& load = floor.load;
  const nlohmann::ordered_json json = {{"tokens", floor.tokens},
                                       {"max_vio", load.max_vio},
                                       {"min_vio", load.min_vio},
                                       {"avg_vio", load.avg_vio},
                                       {"cv", load.cv},
                                       {"entropy", load.entropy},
                                       {"dead", load.dead},
                                       {"starved", load.starved},
                                       {"device_vio", load.device_vio},
                                       {"received_vio", load.received_vio}};
  return json.dump(2) + "\n";
}

}  // namespace dsmoe::train
