#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "configs/model_config.h"
#include "data/token_batch.h"
#include "modules/routing_record.h"
#include "trainer/objective.h"
#include "trainer/step_report.h"

namespace dsmoe::train {

/// Counts and sums of one MoE layer over the tokens of a step that are not padding.
class LayerStatistics {
 public:
  /// layer: index in the model. sources: of data.train.
  LayerStatistics(const config::ModelConfig& model, int64_t layer, int64_t sources);

  /// Adds the rows of one micro-batch. balance: raw losses, summed over units.
  void add(const nn::RoutingRecord& record, const data::TokenBatch& batch,
           const BalanceSums& balance);

  /// Every count and every sum, to be added over ranks.
  [[nodiscard]] std::vector<int64_t*> counts();
  [[nodiscard]] std::vector<double*> sums();

  [[nodiscard]] LayerReport report(const GlobalCounts& global, int64_t tokens) const;
  [[nodiscard]] int64_t rank_visits() const { return rank_visits_; }

 private:
  void add_token(int64_t n, int64_t row, const data::TokenBatch& batch, const int64_t* experts,
                 const bool* kept);
  void add_affinities(const nn::RoutingRecord& record, const bool* valid);

  config::ModelConfig model_;
  int64_t layer_;
  std::vector<int64_t> pairs_;
  std::vector<int64_t> received_;
  std::vector<int64_t> sent_;
  std::vector<int64_t> devices_;
  std::vector<int64_t> source_pairs_;
  std::vector<int64_t> groups_;      ///< of each expert
  std::vector<int64_t> last_visit_;  ///< per group: the token that came last, in this micro-batch
  int64_t kept_ = 0;
  int64_t tokens_hit_ = 0;
  int64_t tokens_lost_ = 0;
  int64_t rank_visits_ = 0;  ///< (token, rank) of kept pairs
  double entropy_ = 0;
  double mass_ = 0;
  double mass_dropped_ = 0;
  BalanceSums balance_{};
};

}  // namespace dsmoe::train
