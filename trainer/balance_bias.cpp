#include "trainer/balance_bias.h"

#include <c10/util/Exception.h>

namespace dsmoe::train {

void move_biases(nn::ParameterStore& store, const std::vector<LayerReport>& layers, double rate) {
  TORCH_CHECK(store.buffers().size() == layers.size(), store.buffers().size(),
              " routers have a bias, ", layers.size(), " layers a load");
  for (size_t i = 0; i < layers.size(); ++i) {
    const at::Tensor load_E = torch::tensor(layers[i].pairs, at::kLong).to(at::kDouble);
    at::Tensor bias_E = store.buffers()[i].values;
    bias_E.add_((load_E.mean() - load_E).sign().to(bias_E.scalar_type()), rate);
  }
}

}  // namespace dsmoe::train
