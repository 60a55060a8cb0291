#include "modules/saved_data.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/graph_task.h>

namespace dsmoe::nn {

c10::IValue take_saved(torch::autograd::AutogradContext* ctx, const std::string& name) {
  c10::IValue value = ctx->saved_data.at(name);
  if (!torch::autograd::get_current_graph_task_keep_graph()) ctx->saved_data.erase(name);
  return value;
}

}  // namespace dsmoe::nn
