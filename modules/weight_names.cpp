#include "modules/weight_names.h"

#include <numeric>

namespace dsmoe::nn {
namespace {

constexpr const char* kGateUp = "gate_up_proj";
constexpr const char* kDown = "down_proj";

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

int64_t elements(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

bool is_head(const std::string& path) { return path.rfind("lm_head", 0) == 0; }

/// Everything lives under "model." but the head; the embedding is a parameter here and a module
/// with a `.weight` there.
std::string published_path(const std::string& path) {
  const std::string full = is_head(path) ? path : "model." + path;
  return ends_with(full, ".weight") ? full : full + ".weight";
}

/// The module whose `.weight` a parameter is.
std::string module_path(const std::string& path) {
  const std::string end = ".weight";
  return ends_with(path, end) ? path.substr(0, path.size() - end.size()) : path;
}

/// gate_proj and up_proj of one feed-forward network whose rows start at `offset`.
void add_gate_up(std::vector<PublishedSlice>& out, const std::string& prefix,
                 const std::vector<int64_t>& shape, int64_t offset) {
  const std::vector<int64_t> half{shape[0] / 2, shape[1]};
  out.push_back({prefix + "gate_proj.weight", half, offset});
  out.push_back({prefix + "up_proj.weight", half, offset + elements(half)});
}

std::vector<PublishedSlice> expert_slices(const std::string& prefix, bool gate_up,
                                          const std::vector<int64_t>& shape, int64_t first) {
  std::vector<PublishedSlice> out;
  const std::vector<int64_t> one{shape[1], shape[2]};
  for (int64_t e = 0; e < shape[0]; ++e) {
    const std::string expert = prefix + std::to_string(first + e) + ".";
    if (gate_up) {
      add_gate_up(out, expert, one, e * elements(one));
    } else {
      out.push_back({expert + kDown + ".weight", one, e * elements(one)});
    }
  }
  return out;
}

/// peft's name of one matrix of an adapter.
std::string adapter_name(const std::string& module, const std::string& matrix) {
  return "base_model.model." + std::string(is_head(module) ? "" : "model.") + module + "." +
         matrix + ".weight";
}

bool is_adapter_path(const std::string& path) { return path.find("lora_") != std::string::npos; }

/// Of `layers.0.mlp.gate_up_proj.gate_proj_lora_A`, `layers.0.mlp.gate_proj` and `lora_A`: the part
/// that an adapter is named after takes the place of the matrix that holds it.
PublishedSlice dense_adapter(const std::string& path, const std::vector<int64_t>& shape) {
  const size_t cut = path.rfind('.'), lora = path.rfind("lora_");
  std::string module = path.substr(0, cut);
  if (lora > cut + 1) {
    module = module.substr(0, module.rfind('.') + 1) + path.substr(cut + 1, lora - cut - 2);
  }
  return {adapter_name(module, path.substr(lora)), shape, 0};
}

/// Of `layers.1.mlp.experts.down_proj_lora_A`, each expert's `layers.1.mlp.experts.3.down_proj`.
std::vector<PublishedSlice> expert_adapters(const std::string& path,
                                            const std::vector<int64_t>& shape, int64_t first) {
  const size_t cut = path.rfind('.') + 1, lora = path.rfind("lora_");
  const std::string stack = path.substr(cut, lora - cut - 1);
  const std::vector<int64_t> one{shape[1], shape[2]};
  std::vector<PublishedSlice> out;
  for (int64_t e = 0; e < shape[0]; ++e) {
    const std::string module = path.substr(0, cut) + std::to_string(first + e) + "." + stack;
    out.push_back({adapter_name(module, path.substr(lora)), one, e * elements(one)});
  }
  return out;
}

}  // namespace

bool is_expert_parameter(const std::string& path) {
  return path.find(".mlp.experts.") != std::string::npos;
}

std::vector<PublishedSlice> published_slices(const std::string& path,
                                             const std::vector<int64_t>& shape,
                                             int64_t first_expert) {
  if (is_adapter_path(path)) {
    if (is_expert_parameter(path)) return expert_adapters(path, shape, first_expert);
    return {dense_adapter(path, shape)};
  }
  const std::string module = module_path(path);
  const bool gate_up = ends_with(module, kGateUp);
  const std::string prefix = "model." + module.substr(0, module.rfind('.') + 1);
  if (is_expert_parameter(path)) return expert_slices(prefix, gate_up, shape, first_expert);
  if (!gate_up) return {{published_path(path), shape, 0}};
  std::vector<PublishedSlice> out;
  add_gate_up(out, prefix, shape, 0);
  return out;
}

}  // namespace dsmoe::nn
