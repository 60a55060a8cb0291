#include "trainer/pipeline_shape.h"

#include "trainer/micro_batches.h"

namespace dsmoe::train {

parallel::PipelineShape pipeline_shape(const config::RunConfig& config,
                                       const parallel::Topology& topology) {
  const BatchCut cut = cut_batch(config, 0, config.batch.sequences);
  return {topology.stages, num_micro_batches(cut, topology), config.parallel.chunks,
          config.parallel.put_off};
}

}  // namespace dsmoe::train
