#include "modules/adapter.h"

namespace dsmoe::nn {

Adapter register_adapter(torch::nn::Module& module, const std::string& prefix,
                         std::vector<int64_t> a_shape, std::vector<int64_t> b_shape, double scale) {
  return {module.register_parameter(prefix + "lora_A", at::empty(a_shape)),
          module.register_parameter(prefix + "lora_B", at::empty(b_shape)),
          scale,
          {}};
}

bool is_adapter(const std::string& published_name) {
  return published_name.find(".lora_") != std::string::npos;
}

}  // namespace dsmoe::nn
