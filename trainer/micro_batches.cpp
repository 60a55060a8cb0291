#include "trainer/micro_batches.h"

#include <algorithm>

namespace dsmoe::train {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

int64_t num_micro_batches(const BatchCut& cut, const parallel::Topology& topology) {
  const int64_t pieces = divide_up(cut.sequences, topology.expert_size * cut.micro);
  return divide_up(pieces, topology.replicas());
}

data::SequenceRange micro_batch(const BatchCut& cut, const parallel::Topology& topology,
                                int64_t index) {
  const int64_t piece = topology.replica() * num_micro_batches(cut, topology) + index;
  const int64_t begin = (piece * topology.expert_size + topology.expert_rank()) * cut.micro;
  return {cut.first + std::min(begin, cut.sequences),
          cut.first + std::min(begin + cut.micro, cut.sequences)};
}

}  // namespace dsmoe::train
