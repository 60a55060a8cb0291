#include "trainer/plan_search.h"

#include <algorithm>
#include <map>

#include "configs/errors.h"
#include "trainer/human.h"

namespace dsmoe::train {
namespace {

/// Reasons by a key that leaves numbers out; of equal ones the closest miss is told.
class Reasons {
 public:
  void add(const std::string& key, const std::string& reason, double miss) {
    Entry& entry = entries_[key];
    if (entry.count++ > 0 && miss >= entry.miss) return;
    entry.reason = reason;
    entry.miss = miss;
  }

  [[nodiscard]] std::vector<Rejection> sorted() const {
    std::vector<Rejection> all;
    for (const auto& [key, entry] : entries_) all.push_back({entry.reason, entry.count});
    std::stable_sort(all.begin(), all.end(),
                     [](const auto& a, const auto& b) { return a.count > b.count; });
    return all;
  }

 private:
  struct Entry {
    std::string reason;
    int64_t count = 0;
    double miss = 0;
  };
  std::map<std::string, Entry> entries_;
};

std::vector<int64_t> divisors(int64_t number) {
  std::vector<int64_t> all;
  for (int64_t d = 1; d <= number; ++d) {
    if (number % d == 0) all.push_back(d);
  }
  return all;
}

/// A pipeline's order of work; of no pipeline one stands for all.
struct Schedule {
  const char* name;
  int64_t chunks;
  double put_off;
};

std::vector<Schedule> schedules(int64_t stages) {
  if (stages == 1) return {{"1f1b", 1, 1}};
  std::vector<Schedule> all{{"1f1b", 1, 1}, {"interleaved", 2, 1}};
  for (const double put_off : {1.0, 0.5, 0.25}) {
    const bool some = parallel::most_put_off(stages - 1, {stages, 1, 1, put_off}) > 0;
    if (some) all.push_back({"zb_h1", 1, put_off});
  }
  return all;
}

/// Four, and what is configured.
std::vector<std::vector<std::string>> recomputations(const config::RunConfig& config) {
  std::vector<std::vector<std::string>> all{
      {}, {"norms", "mla_up", "swiglu"}, {"norms", "mla_up", "swiglu", "experts"}, {"layer"}};
  const auto& asked = config.run.recompute;
  if (std::find(all.begin(), all.end(), asked) == all.end()) all.push_back(asked);
  return all;
}

/// Replaces digits, so that messages that differ in numbers alone are one reason.
std::string without_numbers(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c < '0' || c > '9') out += c;
  }
  return out;
}

/// The sentence of an error, without its hint.
std::string sentence(const ConfigError& error) {
  const std::string text = error.what();
  return text.substr(0, text.find("\nhint:"));
}

struct Kind {
  const char* name;
  int64_t bytes;
};

Kind largest_kind(const MemoryEstimate& memory) {
  const std::vector<Kind> kinds{
      {"weights", memory.weights},          {"gradients", memory.gradients},
      {"optimizer", memory.optimizer},      {"activations", memory.activations},
      {"checkpoint copies", memory.copies}, {"data and program", memory.data + memory.program}};
  return *std::max_element(kinds.begin(), kinds.end(),
                           [](const Kind& a, const Kind& b) { return a.bytes < b.bytes; });
}

/// parallel.ranks_per_node: a row to each rank; and, where that differs, to each node.
std::vector<int64_t> hop_sizes(int64_t experts, int64_t ranks_per_node) {
  const bool spans =
      1 < ranks_per_node && ranks_per_node < experts && experts % ranks_per_node == 0;
  return spans ? std::vector<int64_t>{0, ranks_per_node} : std::vector<int64_t>{0};
}

class Search {
 public:
  Search(const config::RunConfig& config, const Planner& planner)
      : config_(config), planner_(planner) {}

  void run() {
    const int64_t ranks = planner_.cluster().ranks();
    for (const int64_t stages : divisors(ranks)) {
      for (const int64_t experts : divisors(ranks / stages)) try_ranks(stages, experts);
    }
  }

  PlanRanking ranking(int64_t most) {
    PlanRanking ranking{{}, static_cast<int64_t>(fitting_.size()), tried_, reasons_.sorted()};
    std::stable_sort(fitting_.begin(), fitting_.end(), [](const StepPlan& a, const StepPlan& b) {
      return a.tokens_per_second > b.tokens_per_second;
    });
    const auto shown =
        static_cast<int64_t>(std::min<size_t>(fitting_.size(), static_cast<size_t>(most)));
    ranking.best.assign(fitting_.begin(), fitting_.begin() + shown);
    return ranking;
  }

 private:
  void try_ranks(int64_t stages, int64_t experts) {
    const bool alone = planner_.cluster().ranks() == stages;
    for (const Schedule& schedule : schedules(stages)) {
      config::RunConfig config = config_;
      config.parallel.pipeline = stages;
      config.parallel.expert = experts;
      config.parallel.schedule = schedule.name;
      config.parallel.chunks = schedule.chunks;
      config.parallel.put_off = schedule.put_off;
      config.parallel.stage_layers.clear();
      for (const int64_t zero : {0, 1}) {
        if (zero == 1 && alone) continue;  // nobody to share with
        config.parallel.zero = zero;
        for (const int64_t node : hop_sizes(experts, planner_.cluster().ranks_per_node)) {
          config.parallel.ranks_per_node = node;
          try_batches(config);
        }
      }
    }
  }

  void try_batches(config::RunConfig config) {
    for (const int64_t sequences : {1, 2, 4, 8}) {
      config.batch.micro_sequences = sequences;
      const auto listed = legal(config);
      for (const auto& again : recomputations(config_)) {
        ++tried_;
        if (!listed) {
          reasons_.add(without_numbers(why_), why_, 0);
          continue;
        }
        config::RunConfig one = *listed;
        one.run.recompute = again;
        try_memory(one);
      }
    }
  }

  /// With its slices; nothing, and why_, where the layout is not allowed.
  std::optional<config::RunConfig> legal(const config::RunConfig& config) {
    try {
      return planner_.checked(config);
    } catch (const ConfigError& error) {
      why_ = sentence(error);
      return std::nullopt;
    }
  }

  void try_memory(const config::RunConfig& config) {
    const MemoryEstimate memory = planner_.memory(config);
    const auto total = static_cast<double>(memory.total());
    const double limit = planner_.cluster().memory.bytes;
    if (total <= limit) {
      fitting_.push_back(planner_.plan(config));
      return;
    }
    const Kind largest = largest_kind(memory);
    reasons_.add(std::string("memory ") + largest.name,
                 "needs " + human_bytes(total) + " of " + human_bytes(limit) + ", most of it " +
                     largest.name + ": " + human_bytes(static_cast<double>(largest.bytes)),
                 total);
  }

  const config::RunConfig& config_;
  const Planner& planner_;
  std::vector<StepPlan> fitting_;
  Reasons reasons_;
  std::string why_;
  int64_t tried_ = 0;
};

}  // namespace

PlanRanking rank_layouts(const config::RunConfig& config, const Planner& planner, int64_t most) {
  Search search(config, planner);
  search.run();
  return search.ranking(most);
}

}  // namespace dsmoe::train
