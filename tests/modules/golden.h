#pragma once

#include <ATen/core/Tensor.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "configs/model_config.h"

namespace dsmoe::test {

/// tests/golden/NAME.json.
inline nlohmann::json golden(const std::string& name) {
  std::ifstream file(DSMOE_SOURCE_DIR "/tests/golden/" + name + ".json");
  return nlohmann::json::parse(file);
}

/// {"shape": [...], "data": [...]} as float64.
inline at::Tensor to_tensor(const nlohmann::json& value) {
  auto data = value.at("data").get<std::vector<double>>();
  return torch::tensor(data, at::kDouble).view(value.at("shape").get<std::vector<int64_t>>());
}

/// A list of equally long lists.
template <class T>
at::Tensor to_matrix(const nlohmann::json& value) {
  std::vector<T> flat;
  for (const auto& row : value) {
    for (const auto& number : row) flat.push_back(number.get<T>());
  }
  return torch::tensor(flat, c10::CppTypeToScalarType<T>::value)
      .view({static_cast<int64_t>(value.size()), -1});
}

/// The rotary part of a golden configuration, over `config`.
inline config::ModelConfig with_rope(config::ModelConfig config, const nlohmann::json& value) {
  config.qk_nope_head_dim = value.at("qk_nope_head_dim");
  config.qk_rope_head_dim = value.at("qk_rope_head_dim");
  config.rope_theta = value.at("rope_theta");
  const auto& yarn = value.at("rope_scaling");
  if (yarn.is_null()) return config;
  config.rope_scaling.emplace();
  config.rope_scaling->factor = yarn.at("factor");
  config.rope_scaling->original_max_position_embeddings =
      yarn.at("original_max_position_embeddings");
  config.rope_scaling->beta_fast = yarn.at("beta_fast");
  config.rope_scaling->beta_slow = yarn.at("beta_slow");
  config.rope_scaling->mscale = yarn.at("mscale");
  config.rope_scaling->mscale_all_dim = yarn.at("mscale_all_dim");
  return config;
}

}  // namespace dsmoe::test
