#include "trainer/logits_recorder.h"

#include <algorithm>

#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/safetensors_writer.h"

namespace dsmoe::train {
namespace {

/// Rows of all ranks, those of padding left out; every rank brings `most` rows.
at::Tensor gather(const at::Tensor& rows, int64_t most, parallel::Communicator& world) {
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = most;
  at::Tensor mine = at::zeros(shape, rows.options());
  mine.narrow(0, 0, rows.size(0)).copy_(rows);
  if (world.size() == 1) return mine;
  shape[0] *= world.size();
  at::Tensor all = at::empty(shape, rows.options());
  world.all_gather(all, mine);
  return all;
}

int64_t most_rows(int64_t rows, parallel::Communicator& world) {
  at::Tensor most = at::full({1}, rows, at::kLong);
  if (world.size() > 1) world.all_reduce(most, parallel::ReduceOp::kMax);
  return most.item<int64_t>();
}

/// Where the real rows stand, by ascending sequence number; padding has -1.
at::Tensor order_of(const at::Tensor& numbers) {
  const at::Tensor order = numbers.argsort(/*stable=*/true, 0, false);
  return order.index_select(0, numbers.index_select(0, order).ge(0).nonzero().flatten());
}

}  // namespace

void LogitsRecorder::add(const nn::ModelOutput& output, const data::TokenBatch& batch) {
  logits_.resize(output.routing.size());
  layers_.clear();
  sequences_.insert(sequences_.end(), batch.sequence_numbers.begin(), batch.sequence_numbers.end());
  for (size_t i = 0; i < output.routing.size(); ++i) {
    const at::Tensor logits_NE = output.routing[i].logits_NE.detach();
    layers_.push_back(output.routing[i].layer);
    logits_[i].push_back(
        logits_NE.view({batch.inputs_BT.size(0), batch.inputs_BT.size(1), logits_NE.size(1)}));
  }
}

void LogitsRecorder::write(int64_t step, const nn::ParameterStore& store,
                           parallel::Communicator& world) {
  const auto rows = static_cast<int64_t>(sequences_.size());
  const int64_t most = most_rows(rows, world);
  at::Tensor padded = at::full({most}, -1, at::kLong);
  std::copy(sequences_.begin(), sequences_.end(), padded.mutable_data_ptr<int64_t>());
  const at::Tensor numbers = gather(padded, most, world);
  const at::Tensor order = order_of(numbers);
  std::vector<at::Tensor> layers;
  for (const auto& parts : logits_) {
    layers.push_back(gather(at::cat(parts), most, world).index_select(0, order));
  }
  agree(world, [&] {
    if (world.rank() != 0) return;
    make_directories(directory_);
    for (size_t i = 0; i < layers.size(); ++i) {
      std::vector<NamedTensor> tensors{{"logits", layers[i]},
                                       {"sequences", numbers.index_select(0, order)}};
      if (!store.buffers().empty()) tensors.push_back({"bias", store.buffers()[i].values});
      write_safetensors(directory_ + "/" + step_directory_name(step) + "-layer-" +
                            std::to_string(layers_[i]) + ".safetensors",
                        tensors);
    }
  });
  sequences_.clear();
  logits_.clear();
}

}  // namespace dsmoe::train
