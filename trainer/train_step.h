#pragma once

#include <cstdint>
#include <vector>

#include "configs/run_config.h"
#include "data/loader.h"
#include "modules/model.h"
#include "modules/parameter_store.h"
#include "parallel/process_groups.h"
#include "parallel/recording_communicator.h"
#include "parallel/topology.h"
#include "trainer/objective.h"
#include "trainer/optimizer.h"
#include "trainer/run_state.h"
#include "trainer/step_report.h"
#include "trainer/step_statistics.h"

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
};

/// Where a batch's micro-batches come from; the loader in training, anything in tests.
using MicroBatches = std::vector<data::TokenBatch>;

/// Number of targets and of non-empty sequences in the global batch. Collective over world.
[[nodiscard]] GlobalCounts count_batch(const MicroBatches& batches, parallel::Communicator& world);

/// Forward and backward of this rank's micro-batches, then the sum over ranks: the flat gradients
/// hold the gradient of the global objective. Fills time, and what StepStatistics::fill fills.
/// Collective over all groups.
void compute_gradients(TrainContext& context, const MicroBatches& batches, int64_t step,
                       int64_t first_sequence, StepReport& report);

/// One training step, design section 4: micro-batches, counts, forward and backward, summed
/// gradients, norm and clip, optimizer or a skipped step. Advances `state`. Collective.
[[nodiscard]] StepReport train_step(TrainContext& context, data::Loader& loader, RunState& state);

}  // namespace dsmoe::train
