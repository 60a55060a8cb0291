#pragma once

#include <cstdint>
#include <vector>

#include "configs/run_config.h"
#include "data/token_batch.h"
#include "modules/model.h"
#include "modules/parameter_store.h"
#include "parallel/process_groups.h"
#include "parallel/recording_communicator.h"
#include "parallel/topology.h"
#include "trainer/logits_recorder.h"
#include "trainer/objective.h"
#include "trainer/optimizer.h"
#include "trainer/step_report.h"

namespace dsmoe::train {

/// Everything one training step works on. Borrowed; outlives the step.
struct TrainContext {
  const config::RunConfig& config;
  const parallel::Topology& topology;
  parallel::RecordingCommunicator& world;
  parallel::ProcessGroups& groups;
  nn::Model& model;
  nn::ParameterStore& store;
  Optimizer& optimizer;
  LogitsRecorder* recorder = nullptr;  ///< of run.record_logits
};

/// Where a batch's micro-batches come from; the loader in training, anything in tests.
using MicroBatches = std::vector<data::TokenBatch>;

/// Targets, units of the balance losses and rows of the global batch. Collective over data.
[[nodiscard]] GlobalCounts count_batch(const MicroBatches& batches, int64_t first_sequence,
                                       const config::RunConfig& config,
                                       parallel::Communicator& data);

/// Forward and backward of this rank's micro-batches, then the sum over ranks: the flat gradients
/// hold the gradient of the global objective, with parallel.zero 1 in this rank's share only.
/// balance.scope global_batch with several micro-batches runs them forward once more before, for
/// the counts. Fills time, and what StepStatistics::fill fills. Collective over all groups.
void compute_gradients(TrainContext& context, const MicroBatches& batches, int64_t step,
                       int64_t first_sequence, StepReport& report);

}  // namespace dsmoe::train
