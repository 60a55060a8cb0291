#include "modules/add_adapters.h"

#include <algorithm>

#include "modules/experts.h"
#include "modules/linear_layer.h"
#include "modules/weight_names.h"

namespace dsmoe::nn {
namespace {

/// How many of the published matrices in a parameter the plan names.
int64_t count_named(const std::vector<PublishedSlice>& slices, const AdapterPlan& plan) {
  return std::count_if(slices.begin(), slices.end(),
                       [&](const PublishedSlice& slice) { return plan.adapts(slice.name); });
}

/// Whether a parameter's matrices are to be adapted: all or none of them.
bool all_named(const std::vector<PublishedSlice>& slices, const AdapterPlan& plan) {
  const int64_t named = count_named(slices, plan);
  TORCH_CHECK(named == 0 || named == static_cast<int64_t>(slices.size()), named, " of ",
              slices.size(), " matrices beside ", slices.front().name, " are to be adapted");
  return named > 0;
}

void adapt_linear(LinearLayerImpl& linear, const std::string& path, const AdapterPlan& plan) {
  const auto slices = published_slices(path + ".weight", linear.weight().sizes().vec(), 0);
  if (!all_named(slices, plan)) return;
  linear.adapt(plan, path,
               slices.size() == 1 ? std::vector<std::string>{}
                                  : std::vector<std::string>{"gate_proj", "up_proj"});
}

/// Names of all experts, wherever they live: every rank decides alike.
void adapt_experts(ExpertsImpl& experts, const std::string& path, const AdapterPlan& plan,
                   int64_t num_experts) {
  for (const char* stack : {"gate_up_proj", "down_proj"}) {
    const std::string name = path + "." + stack;
    const auto slices = published_slices(name, {num_experts, 2, 1}, 0);
    if (all_named(slices, plan)) experts.adapt(stack, plan.rank, plan.scale);
  }
}

}  // namespace

void add_adapters(torch::nn::Module& model, const AdapterPlan& plan, int64_t num_experts) {
  for (const auto& item : model.named_modules("", /*include_self=*/false)) {
    if (auto* const linear = item.value()->as<LinearLayerImpl>()) {
      adapt_linear(*linear, item.key(), plan);
    } else if (auto* const experts = item.value()->as<ExpertsImpl>()) {
      adapt_experts(*experts, item.key(), plan, num_experts);
    }
  }
}

}  // namespace dsmoe::nn
