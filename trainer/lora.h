#pragma once

#include <string>
#include <vector>

#include "configs/run_config.h"
#include "modules/adapter.h"
#include "modules/published_tensors.h"

namespace dsmoe::train {

/// Whether the run trains adapters beside frozen weights.
[[nodiscard]] inline bool uses_lora(const config::RunConfig& config) {
  return config.finetune.method == config::FinetuneMethod::kLora;
}

/// Whether peft takes the matrix of a published name, or the adapter beside it, as a module: others
/// it knows as parameters, without dropout.
[[nodiscard]] bool is_peft_module(const std::string& published_name);

/// Which matrices get an adapter; none unless the method is lora.
[[nodiscard]] nn::AdapterPlan adapter_plan(const config::RunConfig& config);

/// Throws ConfigError where a pattern of finetune.lora.target matches no tensor or one that takes
/// no adapter (embeddings, router, norms), or where only some of the matrices are named that
/// take adapters together: gate_proj without up_proj, or some experts of a layer.
void check_adapters(const config::RunConfig& config);

/// Both matrices of every adapter of the whole model, under their names in a ParameterStore.
[[nodiscard]] std::vector<nn::PublishedTensor> adapter_tensors(const config::RunConfig& config);

}  // namespace dsmoe::train
