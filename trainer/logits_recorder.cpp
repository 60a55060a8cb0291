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
  for (const nn::RoutingRecord& record : output.routing) {
    Layer& layer = layers_[record.layer];
    const at::Tensor logits_NE = record.logits_NE.detach();
    layer.sequences.insert(layer.sequences.end(), batch.sequence_numbers.begin(),
                           batch.sequence_numbers.end());
    layer.logits.push_back(
        logits_NE.view({batch.inputs_BT.size(0), batch.inputs_BT.size(1), logits_NE.size(1)}));
  }
}

void LogitsRecorder::write(int64_t step, const nn::ParameterStore& store,
                           parallel::ProcessGroups& groups) {
  std::vector<std::pair<int64_t, std::vector<NamedTensor>>> files;
  for (const auto& [number, layer] : layers_) {
    const int64_t most = most_rows(static_cast<int64_t>(layer.sequences.size()), *groups.data);
    at::Tensor padded = at::full({most}, -1, at::kLong);
    std::copy(layer.sequences.begin(), layer.sequences.end(), padded.mutable_data_ptr<int64_t>());
    const at::Tensor numbers = gather(padded, most, *groups.data);
    const at::Tensor order = order_of(numbers);
    const at::Tensor logits = gather(at::cat(layer.logits), most, *groups.data);
    std::vector<NamedTensor> tensors{{"logits", logits.index_select(0, order)},
                                     {"sequences", numbers.index_select(0, order)}};
    if (!store.buffers().empty()) {
      tensors.push_back({"bias", store.buffers()[files.size()].values});
    }
    files.emplace_back(number, std::move(tensors));
  }
  agree(groups.world, [&] {
    if (groups.data->rank() != 0) return;
    make_directories(directory_);
    for (const auto& [number, tensors] : files) {
      write_safetensors(directory_ + "/" + step_directory_name(step) + "-layer-" +
                            std::to_string(number) + ".safetensors",
                        tensors);
    }
  });
  layers_.clear();
}

}  // namespace dsmoe::train
