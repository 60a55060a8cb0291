#include "trainer/balance_bias.h"

#include <c10/util/Exception.h>

#include <algorithm>

#include "modules/published_tensors.h"

namespace dsmoe::train {

void move_biases(nn::ParameterStore& store, const std::vector<LayerReport>& layers, double rate) {
  for (const nn::StoredBuffer& buffer : store.buffers()) {
    const auto layer = std::find_if(layers.begin(), layers.end(), [&](const LayerReport& report) {
      return report.layer == nn::layer_of(buffer.name);
    });
    TORCH_CHECK(layer != layers.end(), buffer.name, " has no load");
    const at::Tensor load_E = torch::tensor(layer->pairs, at::kLong).to(at::kDouble);
    at::Tensor bias_E = buffer.values;
    bias_E.add_((load_E.mean() - load_E).sign().to(bias_E.scalar_type()), rate);
  }
}

}  // namespace dsmoe::train
