#include "trainer/micro_batches.h"

#include <algorithm>

namespace dsmoe::train {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t filled_micro_batches(const BatchCut& cut, const parallel::Topology& topology) {
  const int64_t pieces = divide_up(cut.sequences, topology.expert_size * cut.micro);
  return divide_up(pieces, topology.replicas());
}

}  // namespace

BatchCut cut_batch(const config::RunConfig& config, int64_t first, int64_t sequences) {
  const config::ParallelConfig& parallel = config.parallel;
  const bool in_rounds = parallel.pipeline > 1 && parallel.schedule == "interleaved";
  return {first, sequences, config.batch.micro_sequences, in_rounds ? parallel.pipeline : 1};
}

int64_t num_micro_batches(const BatchCut& cut, const parallel::Topology& topology) {
  return divide_up(filled_micro_batches(cut, topology), cut.multiple) * cut.multiple;
}

data::SequenceRange micro_batch(const BatchCut& cut, const parallel::Topology& topology,
                                int64_t index) {
  const int64_t filled = filled_micro_batches(cut, topology);
  if (index >= filled) return {cut.first + cut.sequences, cut.first + cut.sequences};
  const int64_t piece = topology.replica() * filled + index;
  const int64_t begin = (piece * topology.expert_size + topology.expert_rank()) * cut.micro;
  return {cut.first + std::min(begin, cut.sequences),
          cut.first + std::min(begin + cut.micro, cut.sequences)};
}

}  // namespace dsmoe::train
