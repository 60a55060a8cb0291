#include "data/curriculum.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace dsmoe::data {
namespace {

std::vector<double> weights_of(const std::vector<config::DataSource>& sources) {
  std::vector<double> weights;
  for (const config::DataSource& source : sources) weights.push_back(source.weight);
  return weights;
}

std::vector<double> weights_of(const config::DataStage& stage) {
  std::vector<double> weights;
  for (const auto& [name, weight] : stage.weights) weights.push_back(weight);
  return weights;
}

int64_t index_of(const std::string& name, const std::vector<config::DataSource>& sources) {
  const auto found = std::find_if(sources.begin(), sources.end(),
                                  [&](const auto& source) { return source.name == name; });
  return found - sources.begin();
}

std::vector<int64_t> sources_of(const config::DataStage& stage, const config::DataConfig& config) {
  std::vector<int64_t> sources;
  for (const auto& [name, weight] : stage.weights) sources.push_back(index_of(name, config.train));
  return sources;
}

std::vector<int64_t> all_of(const std::vector<config::DataSource>& sources) {
  std::vector<int64_t> all;
  for (size_t i = 0; i < sources.size(); ++i) all.push_back(static_cast<int64_t>(i));
  return all;
}

}  // namespace

Curriculum::Curriculum(const config::DataConfig& config)
    : num_sources_(static_cast<int64_t>(config.train.size())) {
  if (config.stages.empty()) {
    stages_.push_back({0, all_of(config.train), Blend(weights_of(config.train))});
  }
  int64_t tokens = 0;
  for (const config::DataStage& stage : config.stages) {
    const int64_t begin = (tokens + config.sequence_length - 1) / config.sequence_length;
    stages_.push_back({begin, sources_of(stage, config), Blend(weights_of(stage))});
    tokens += stage.tokens;
  }
}

std::vector<int64_t> Curriculum::begins() const {
  std::vector<int64_t> begins;
  for (const Stage& stage : stages_) begins.push_back(stage.begin);
  return begins;
}

int64_t Curriculum::end(size_t stage) const {
  return stage + 1 < stages_.size() ? stages_[stage + 1].begin
                                    : std::numeric_limits<int64_t>::max();
}

const std::vector<int64_t>& Curriculum::used_before(size_t stage) {
  if (used_.empty()) used_.emplace_back(static_cast<size_t>(num_sources_), 0);
  while (used_.size() <= stage) {
    const size_t last = used_.size() - 1;
    const auto counts = stages_[last].blend.counts(end(last) - stages_[last].begin);
    std::vector<int64_t> used = used_[last];
    for (size_t i = 0; i < counts.size(); ++i) {
      used[static_cast<size_t>(stages_[last].sources[i])] += counts[i];
    }
    used_.push_back(std::move(used));
  }
  return used_[stage];
}

void Curriculum::append(size_t stage, int64_t begin, int64_t end, std::vector<BlendPick>& picks) {
  Stage& now = stages_[stage];
  const std::vector<int64_t>& used = used_before(stage);
  for (const BlendPick pick : now.blend.picks(begin - now.begin, end - now.begin)) {
    const int64_t source = now.sources[static_cast<size_t>(pick.source)];
    picks.push_back({source, used[static_cast<size_t>(source)] + pick.index});
  }
}

std::vector<BlendPick> Curriculum::picks(int64_t begin, int64_t end) {
  std::vector<BlendPick> picks;
  for (size_t stage = 0; stage < stages_.size() && begin < end; ++stage) {
    const int64_t stop = std::min(end, this->end(stage));
    if (begin >= stop) continue;
    append(stage, begin, stop, picks);
    begin = stop;
  }
  return picks;
}

}  // namespace dsmoe::data
