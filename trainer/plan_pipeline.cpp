#include "trainer/plan_pipeline.h"

#include <algorithm>

#include "parallel/pipeline_timeline.h"

namespace dsmoe::train {

PipelineTime pipeline_time(const PlannedPipeline& pipeline) {
  const auto stages = static_cast<int64_t>(pipeline.costs.size());
  double slowest = 0, sum = 0;
  for (const parallel::PassCosts& one : pipeline.costs) {
    slowest = std::max(slowest, one.all());
    sum += one.all();
  }
  const auto count = static_cast<double>(pipeline.micro_batches);
  const double busy = sum / static_cast<double>(stages) * count;
  if (stages == 1) return {busy, busy};
  constexpr int64_t kRounds = 4;
  const int64_t simulated = std::min(pipeline.micro_batches, kRounds * stages);
  const parallel::PipelineShape shape{stages, simulated, pipeline.chunks, pipeline.put_off};
  const auto timeline = parallel::simulate_stages(parallel::schedule_kind(pipeline.schedule), shape,
                                                  pipeline.costs, pipeline.message,
                                                  /*capacity=*/simulated * shape.chunks);
  const double length = timeline.length() + (count - static_cast<double>(simulated)) * slowest;
  return {std::max(busy, length / pipeline.ranks_per_core), busy};
}

}  // namespace dsmoe::train
