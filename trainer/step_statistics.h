#pragma once

#include <cstdint>
#include <vector>

#include "configs/model_config.h"
#include "modules/routing_record.h"
#include "parallel/communicator.h"
#include "trainer/objective.h"
#include "trainer/step_report.h"

namespace dsmoe::train {

/// Counts and sums of one step, gathered over its micro-batches and then over the ranks in two
/// small all-reduces. Padding never counts; counts are int64.
class StepStatistics {
 public:
  StepStatistics(const config::ModelConfig& model, int64_t element_bytes, int64_t weight_bytes);

  /// Adds one micro-batch of this rank.
  void add(const nn::ModelOutput& output, const Objective& objective,
           const nn::SequenceInfo& sequences);
  /// Bytes that dropping gathered across ranks, and bytes measured on the wire, of this rank.
  void add_traffic(int64_t gathered_bytes, int64_t measured_bytes);

  /// Sums over all ranks. Collective over world.
  void reduce(parallel::Communicator& world);

  /// Fills loss, loss_total, balance, load, drop, traffic and layers. Call after reduce.
  void fill(StepReport& report, const config::BalanceConfig& balance,
            const GlobalCounts& counts) const;

 private:
  struct Layer {
    std::vector<int64_t> pairs;  ///< chosen pairs per expert, before dropping
    int64_t kept = 0;
    int64_t group_visits = 0;  ///< (token, device group) of kept pairs
    int64_t rank_visits = 0;   ///< (token, rank) of kept pairs
  };
  void add_layer(Layer& layer, const nn::RoutingRecord& record, const at::Tensor& valid_BT);
  [[nodiscard]] LayerReport report_layer(size_t index, const GlobalCounts& counts) const;

  config::ModelConfig model_;
  int64_t element_bytes_;
  int64_t weight_bytes_;
  std::vector<int64_t> layer_ids_;
  std::vector<Layer> layers_;
  std::vector<std::array<double, 3>> balance_sums_;
  double lm_sum_ = 0;
  int64_t tokens_ = 0;
  int64_t protected_ = 0;
  int64_t bytes_ = 0;
  int64_t bytes_bound_ = 0;
  int64_t metadata_bytes_ = 0;
};

}  // namespace dsmoe::train
