#pragma once

#include <cstdint>
#include <vector>

#include "configs/run_config.h"
#include "data/token_batch.h"
#include "modules/model.h"
#include "parallel/communicator.h"
#include "trainer/layer_statistics.h"
#include "trainer/objective.h"
#include "trainer/step_report.h"

namespace dsmoe::train {

/// Counts and sums of one step, gathered over its micro-batches and then over the ranks in two
/// small all-reduces. Padding never counts; counts are int64.
class StepStatistics {
 public:
  explicit StepStatistics(const config::RunConfig& config);

  /// Adds a micro-batch's pass through layers of this rank.
  void add(const nn::ModelOutput& output, const Objective& objective,
           const data::TokenBatch& batch);
  /// Adds a micro-batch's tokens and protected sequences: once, where the model ends.
  void add_tokens(const nn::SequenceInfo& sequences, const data::TokenBatch& batch);
  /// Adds the traffic of a forward pass that was run for its counts alone.
  void add_counting_pass(const nn::ModelOutput& output);
  /// Bytes of this rank that dropping gathers across ranks, by the layout.
  void add_gathered(int64_t bytes) { metadata_bytes_ += bytes; }
  /// Bytes of this rank measured on the wire.
  void add_measured(int64_t forward_bytes, int64_t backward_bytes);

  /// Of what a dispatch has sent, the bytes that went to other nodes, and those that did not.
  void add_node_bytes(int64_t across, int64_t within);

  /// Sums over all ranks. Collective over world.
  void reduce(parallel::Communicator& world);

  /// Fills loss, loss_total, balance, load, router, drop, traffic and layers. Call after reduce.
  void fill(StepReport& report, const GlobalCounts& counts) const;

 private:
  void add_bytes(const nn::RoutingRecord& record);

  config::ModelConfig model_;
  config::BalanceConfig balance_;
  bool knows_nodes_;
  int64_t element_bytes_;
  int64_t weight_bytes_;
  std::vector<LayerStatistics> layers_;
  double lm_sum_ = 0;
  int64_t tokens_ = 0;
  int64_t protected_ = 0;
  int64_t forward_bytes_ = 0;
  int64_t backward_bytes_ = 0;
  int64_t bytes_bound_ = 0;
  int64_t metadata_bytes_ = 0;
  int64_t inter_node_bytes_ = 0;
  int64_t intra_node_bytes_ = 0;
};

}  // namespace dsmoe::train
