#include "trainer/random_batches.h"

#include "trainer/micro_batches.h"

namespace dsmoe::train {
namespace {

data::TokenBatch random_batch(data::SequenceRange range, const config::RunConfig& config) {
  data::TokenBatch batch;
  const int64_t count = range.end - range.begin;
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(range.begin));
  const at::Tensor tokens =
      at::randint(config.model.vocab_size, {count, config.data.sequence_length + 1}, generator,
                  at::TensorOptions(at::kLong));
  batch.inputs_BT = tokens.slice(1, 0, config.data.sequence_length).contiguous();
  batch.targets_BT = tokens.slice(1, 1).contiguous();
  for (int64_t s = range.begin; s < range.end; ++s) batch.sequence_numbers.push_back(s);
  return batch;
}

}  // namespace

MicroBatches random_batches(const config::RunConfig& config, const parallel::Topology& topology) {
  const BatchCut cut = cut_batch(config, 0, config.batch.sequences);
  MicroBatches batches;
  for (int64_t i = 0; i < num_micro_batches(cut, topology); ++i) {
    batches.push_back(random_batch(micro_batch(cut, topology, i), config));
  }
  return batches;
}

}  // namespace dsmoe::train
