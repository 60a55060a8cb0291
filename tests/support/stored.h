#pragma once

#include "modules/parameter_store.h"

namespace dsmoe::test {

/// The most precise values of a tensor of a store that shares nothing: its master where it has one,
/// else its weights. A view.
[[nodiscard]] inline at::Tensor precise(nn::ParameterStore& store, const nn::StoredTensor& tensor) {
  return store.has_masters() && tensor.trains() ? store.masters().state_view(tensor)
                                                : store.weights().view(tensor);
}

}  // namespace dsmoe::test
